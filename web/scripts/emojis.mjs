// Writes src/lib/emojis.json, from the package emojibase-data (MIT): each emoji with its English shortcodes, its Ukrainian name, the
// number of its group, its keywords in both languages, and its five skin tones where it has them.
// npm pack emojibase-data && tar xzf emojibase-data-*.tgz && node scripts/emojis.mjs package
// The package has 49 MB for 30 languages, of which the pages need 400 kB, so it is not a dependency.
import { readFileSync, writeFileSync } from "node:fs";

const folder = process.argv[2];
const read = (name) => JSON.parse(readFileSync(`${folder}/${name}.json`, "utf8"));
const shortcodes = read("en/shortcodes/emojibase");
const cldr = read("en/shortcodes/cldr");
const ukrainian = new Map(read("uk/compact").map((each) => [each.hexcode, each]));

const list = (codes) => [codes ?? []].flat();
/** Emojis of two people also have variants with two tones: the variants with one tone are enough. */
const tones = (skins) =>
  skins
    .filter(({ tone }) => !Array.isArray(tone))
    .map(({ emoji }) => emoji)
    .join(" ");
const emojis = read("en/data")
  // Components, such as skin tones and the letters of flags, are not emojis by themselves.
  // Emojis newer than two years are empty boxes on many systems.
  .filter(({ group, version }) => group !== undefined && group !== 2 && version <= 15.1)
  .sort((a, b) => a.order - b.order)
  .map(({ hexcode, emoji, group, tags, skins }) => [
    emoji,
    [...new Set([...list(shortcodes[hexcode]), ...list(cldr[hexcode])])].join(" "),
    ukrainian.get(hexcode)?.label ?? "",
    group,
    [...new Set([...list(tags), ...list(ukrainian.get(hexcode)?.tags)])].join(" "),
    ...(skins ? [tones(skins)] : []),
  ]);
writeFileSync(
  new URL("../src/lib/emojis.json", import.meta.url),
  `[\n${emojis.map((each) => JSON.stringify(each)).join(",\n")}\n]\n`,
);
