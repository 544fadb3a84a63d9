/** Tick at the interval, in milliseconds, that the page sends as its only message. */
addEventListener("message", ({ data }: MessageEvent<number>) => {
  setInterval(() => postMessage(null), data);
});
