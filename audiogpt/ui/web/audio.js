// Microphone takes become WAV files: every server can read those.

const player = { audio: by("audio"), index: -1, stopAt: null };

async function wavOf(blob) {
  const context = new AudioContext();
  try {
    const buffer = await context.decodeAudioData(await blob.arrayBuffer());
    const channels = [...Array(buffer.numberOfChannels).keys()].map((c) => buffer.getChannelData(c));
    const share = 1 / channels.length;
    const bytes = new DataView(new ArrayBuffer(44 + buffer.length * 2));
    const text = (at, word) => [...word].forEach((c, i) => bytes.setUint8(at + i, c.charCodeAt(0)));
    text(0, "RIFF"); bytes.setUint32(4, 36 + buffer.length * 2, true); text(8, "WAVEfmt ");
    bytes.setUint32(16, 16, true); bytes.setUint16(20, 1, true); bytes.setUint16(22, 1, true);
    bytes.setUint32(24, buffer.sampleRate, true); bytes.setUint32(28, buffer.sampleRate * 2, true);
    bytes.setUint16(32, 2, true); bytes.setUint16(34, 16, true);
    text(36, "data"); bytes.setUint32(40, buffer.length * 2, true);
    for (let i = 0; i < buffer.length; i++) {
      let sample = 0; // a plain loop: anything built per sample freezes the page for minutes of sound
      for (const channel of channels) sample += channel[i] * share;
      bytes.setInt16(44 + 2 * i, Math.max(-1, Math.min(1, sample)) * 32767, true);
    }
    return new File([bytes.buffer], "recording.wav", { type: "audio/wav" });
  } finally {
    context.close();
  }
}

const recording = { recorder: null, opening: false };
const SHORT_TAKE = 2; // s; a longer one that cannot be read is not too short

// What browsers do for speech, on their own, cuts and levels music.
const AS_IT_SOUNDS = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

async function toggleRecording() {
  const button = by("record");
  if (recording.recorder) {
    if (recording.recorder.state !== "inactive") recording.recorder.stop();
    return;
  }
  if (recording.opening) return; // a second microphone would have no button that closes it
  recording.opening = true;
  let stream, recorder, since;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: AS_IT_SOUNDS });
    recorder = new MediaRecorder(stream);
    recorder.start();
    since = performance.now();
  } catch {
    if (stream) stream.getTracks().forEach((track) => track.stop());
    return showError("The microphone cannot be used: allow it in the browser, or add a file.");
  } finally {
    recording.opening = false;
  }
  const pieces = [];
  recording.recorder = recorder;
  recorder.ondataavailable = (event) => pieces.push(event.data);
  recorder.onstop = async () => {
    const took = (performance.now() - since) / 1000;
    recording.recorder = null;
    stream.getTracks().forEach((track) => track.stop());
    button.textContent = "Record";
    button.setAttribute("aria-pressed", "false");
    tellStatus("Preparing the recording\u2026");
    let file;
    try {
      file = await wavOf(new Blob(pieces, { type: recorder.mimeType }));
    } catch {
      if (!asking() && !uploads.pending) tellStatus("");
      return showError(took < SHORT_TAKE ? "This recording was too short to use: record a few seconds."
        : "The browser could not read this recording: record a shorter one.");
    }
    await addFiles([file]);
  };
  button.textContent = "Stop recording";
  button.setAttribute("aria-pressed", "true");
}

function seek(index, seconds, stopAt = null) {
  if (!state.tracks[index]) return;
  selectTrack(index);
  player.stopAt = stopAt;
  const start = () => {
    player.audio.currentTime = seconds;
    player.audio.play().catch(() => {});
  };
  // One at a time: a track that cannot be played must not leave its place to the next one.
  player.audio.onloadedmetadata = player.audio.readyState >= 1 ? null : start;
  if (player.audio.readyState >= 1) start();
}
