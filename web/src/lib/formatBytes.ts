const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte"] as const;

/** A size in bytes, human-readable: "6 bytes", "1.2 MB". */
export function formatBytes(size: number, language: string): string {
  const step = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(size, 1)) / 3));
  const format = new Intl.NumberFormat(language, {
    style: "unit",
    unit: UNITS[step] ?? "byte",
    // The short form of "byte" has no plural.
    unitDisplay: step ? "short" : "long",
    maximumFractionDigits: 1,
  });
  return format.format(size / 1000 ** step);
}
