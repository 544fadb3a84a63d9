/** Human-readable times, in the language of the pages. */

const SPANS = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
] as const;

/** A time as "5 minutes ago", beyond a week as a date. `moment`: RFC 3339; `now`: milliseconds since the epoch. */
export function relativeTime(moment: string, now: number, language: string): string {
  const passedMs = Math.max(0, now - Date.parse(moment));
  if (passedMs > 7 * 86_400_000) return new Intl.DateTimeFormat(language, { dateStyle: "medium" }).format(Date.parse(moment));
  return formatElapsed(passedMs, language);
}

export function formatElapsed(ms: number, language: string): string {
  const format = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "long" });
  for (const [unit, length] of SPANS) if (ms >= length) return format.format(-Math.floor(ms / length), unit);
  return format.format(0, "second");
}

export function formatTime(moment: string, language: string): string {
  return new Intl.DateTimeFormat(language, { timeStyle: "short" }).format(Date.parse(moment));
}

export function formatDateTime(moment: string, language: string): string {
  return new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "short" }).format(Date.parse(moment));
}

/** The local calendar day of a moment, as `2026-11-22`. */
export function localDate(moment: string): string {
  const date = new Date(moment);
  return [date.getFullYear(), date.getMonth() + 1, date.getDate()].map((n) => String(n).padStart(2, "0")).join("-");
}

export function formatDay(day: string, now: number, language: string, words: { today: string; yesterday: string }): string {
  if (day === localDate(new Date(now).toISOString())) return words.today;
  if (day === localDate(new Date(now - 86_400_000).toISOString())) return words.yesterday;
  const [year = 0, month = 1, date = 1] = day.split("-").map(Number);
  const isThisYear = year === new Date(now).getFullYear();
  return new Intl.DateTimeFormat(language, {
    weekday: "long",
    day: "numeric",
    month: "long",
    ...(isThisYear ? {} : { year: "numeric" }),
  }).format(new Date(year, month - 1, date));
}

/** A short time for lists: the time of today, the weekday within a week, else the date. `now` in ms since the epoch. */
export function shortTime(moment: string, now: number, language: string): string {
  const at = new Date(moment);
  if (localDate(moment) === localDate(new Date(now).toISOString())) return formatTime(moment, language);
  const isThisWeek = now - at.getTime() < 6 * 86_400_000;
  const isThisYear = at.getFullYear() === new Date(now).getFullYear();
  const style: Intl.DateTimeFormatOptions = isThisWeek
    ? { weekday: "short" }
    : { day: "numeric", month: "short", ...(isThisYear ? {} : { year: "numeric" }) };
  return new Intl.DateTimeFormat(language, style).format(at);
}
