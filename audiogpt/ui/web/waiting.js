// What to do about answers that do not come.

const SILENCE = 20_000; // ms without a word of the run that is waited for
const REPLY = 20_000; // ms within which a server that is there replies, however busy it is
const UNANSWERED = "The server has not answered: press Caption to try again.";
const silence = { timer: null };

// Runs may stand in the queue for longer than this: nothing is given up while the server replies.
function awaitAnswer() {
  clearTimeout(silence.timer);
  const run = flight.asked;
  if (!asking()) return;
  silence.timer = setTimeout(async () => {
    const there = await replies();
    if (!asking() || flight.asked !== run) return;
    if (there) awaitAnswer();
    else giveUp();
  }, SILENCE);
}

async function replies() {
  const late = new Promise((done) => setTimeout(done, REPLY, false));
  // Run 0 calls nothing off. Gradio keeps a failure to itself: then there is no value.
  const reply = server.supersede([page + ":caption", 0]).then((value) => value === true, () => false);
  return Promise.race([reply, late]);
}

function giveUp() {
  dropFlight();
  settle("No caption.");
  showError(UNANSWERED);
}

// Gradio says so where a run was not taken at all: its queue is full, or the network is gone.
window.audiogptFailed = (kind) => {
  if (kind === "caption" && asking()) giveUp();
  if (kind === "segments" && through.running) failParts("The server has not answered: try again.");
  if (kind === "shapley") takeShapley({ error: "The server has not answered: try again." });
};
