// Writes src/lib/emojis.json: each emoji with its English shortcodes and its Ukrainian name, from the package emojibase-data (MIT).
// npm pack emojibase-data && tar xzf emojibase-data-*.tgz && node scripts/emojis.mjs package
// The package has 49 MB for 30 languages, of which the pages need 120 kB: so it is no dependency.
import { readFileSync, writeFileSync } from "node:fs";

const folder = process.argv[2];
const read = (name) => JSON.parse(readFileSync(`${folder}/${name}.json`, "utf8"));
const shortcodes = read("en/shortcodes/emojibase");
const cldr = read("en/shortcodes/cldr");
const ukrainian = new Map(read("uk/compact").map(({ hexcode, label }) => [hexcode, label]));

const list = (codes) => [codes ?? []].flat();
const emojis = read("en/data")
  // Components, like skin tones and letters of flags, are no emojis by themselves.
  .filter(({ group }) => group !== undefined && group !== 2)
  .sort((a, b) => a.order - b.order)
  .map(({ hexcode, emoji }) => [
    emoji,
    [...new Set([...list(shortcodes[hexcode]), ...list(cldr[hexcode])])].join(" "),
    ukrainian.get(hexcode) ?? "",
  ]);
writeFileSync(
  new URL("../src/lib/emojis.json", import.meta.url),
  `[\n${emojis.map((each) => JSON.stringify(each)).join(",\n")}\n]\n`,
);
