// The caption where it is out of view: sliders change it on a phone too, and its words open far below.

const TALL = 0.62; // of the window: a card higher than this would cover what it is to be read with

function startPeek() {
  const peek = by("peek"), hero = by("hero"), read = element.querySelector(".read");
  let away = false;
  const tell = () => { by("peek-status").textContent = by(by("error").hidden ? "status" : "error").textContent; };
  // What changed is marked when it comes, not each time that the strip is shown.
  const draw = (coming) => {
    const words = [...hero.querySelectorAll(".word")];
    peek.hidden = !away || !words.length;
    by("peek-text").replaceChildren(...words.flatMap((word) => [h("span", {
      class: coming && word.classList.contains("fresh") && "fresh" }, word.querySelector(".text").firstChild.textContent), " "]));
  };
  const words = new MutationObserver(() => draw(true));
  for (const id of ["title", "description"]) words.observe(by(id), { childList: true });
  const said = new MutationObserver(tell);
  for (const id of ["status", "error"]) said.observe(by(id), { childList: true, subtree: true, attributeFilter: ["hidden"] });
  new IntersectionObserver(([{ intersectionRatio }]) => {
    away = intersectionRatio < 0.25;
    draw(false);
  }, { threshold: 0.25 }).observe(hero);
  peek.addEventListener("click", () => {
    scrollGently(read);
    (hero.querySelector('button.word[tabindex="0"]') || peek).focus({ preventScroll: true });
  });
  let width = read.offsetWidth;
  const fit = () => {
    if (width !== read.offsetWidth) freeHeight();
    width = read.offsetWidth;
    read.classList.toggle("tall", read.offsetHeight > TALL * innerHeight);
    const over = getComputedStyle(read).position === "sticky" ? 16 + read.offsetHeight : 8;
    element.querySelector(".why").style.setProperty("--over", over + "px");
  };
  new ResizeObserver(fit).observe(read);
  window.addEventListener("resize", fit); // it is sticky only in a window that is high enough
}
