/** Ticks every so many milliseconds, as the page said in its one message. */
addEventListener("message", ({ data }: MessageEvent<number>) => {
  setInterval(() => postMessage(null), data);
});
