/**
 * The recording as a file. Browsers that record Opus in WebM do not write its length, and clients on iOS do not play it: the same
 * Opus packets go into Ogg, as Matrix clients send voice messages. If that fails, the recording stays as it is.
 */
export async function withoutContainerOfBrowser(recorded: Blob, name: string): Promise<File> {
  if (recorded.type === "audio/webm") {
    const ogg = await oggOf(recorded).catch(() => null);
    if (ogg !== null) return new File([ogg], `${name}.ogg`, { type: "audio/ogg" });
  }
  const extension = { "audio/ogg": "ogg", "audio/mp4": "m4a" }[recorded.type] ?? "webm";
  return new File([recorded], `${name}.${extension}`, { type: recorded.type });
}

async function oggOf(webm: Blob): Promise<ArrayBuffer | null> {
  const { BlobSource, BufferTarget, Conversion, Input, OggOutputFormat, Output, WEBM } = await import("mediabunny");
  const input = new Input({ source: new BlobSource(webm), formats: [WEBM] });
  const output = new Output({ format: new OggOutputFormat(), target: new BufferTarget() });
  const conversion = await Conversion.init({ input, output, showWarnings: false });
  if (!conversion.isValid) return null;
  await conversion.execute();
  return output.target.buffer;
}
