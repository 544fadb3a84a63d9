// Fails if a grid column can become wider than its container. Columns without a definition and columns of `1fr` are as wide as
// the longest word or unbroken line in them; `minmax(0, 1fr)` is not. Part of `npm run lint`.
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import postcss from "postcss";

const root = fileURLToPath(new URL("..", import.meta.url));

/** `minmax()` tracks whose minimum is a length and not the size of the content. */
const BOUNDED = /minmax\((?:0|min\([^()]*\))\s*,[^()]*\)/g;

const files = readdirSync(`${root}src`, { recursive: true }).filter((name) => name.endsWith(".css"));
const faults = files.flatMap((file) => {
  const found = [];
  postcss.parse(readFileSync(`${root}src/${file}`, "utf8"), { from: file }).walkRules((rule) => {
    const values = new Map();
    rule.each((node) => node.type === "decl" && values.set(node.prop, node.value));
    const where = `${file}:${rule.source.start.line} ${rule.selector}`;
    const columns = values.get("grid-template-columns");
    const isGrid = /^(inline-)?grid$/.test(values.get("display") ?? "");
    // A grid that centres one child in a box of a given size needs no column.
    if (isGrid && !columns && values.get("place-items") !== "center") {
      found.push(`${where}: a grid without grid-template-columns; write minmax(0, 1fr)`);
    }
    if (columns && /\dfr\b/.test(columns.replace(BOUNDED, ""))) {
      found.push(`${where}: ${columns}: a column of 1fr is as wide as its longest word; write minmax(0, 1fr)`);
    }
  });
  return found;
});

for (const fault of faults) console.error(fault);
if (faults.length) process.exit(1);
