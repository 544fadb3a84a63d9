// Fails if the first page needs more JavaScript than its budget: the entry, Home and one language with static imports, gzipped.
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const BUDGET_BYTES = 150_000;

const dist = new URL("../dist/", import.meta.url);
const manifest = JSON.parse(readFileSync(new URL(".vite/manifest.json", dist), "utf8"));

/** The manifest keys of what a page loads before it shows something: the entry, the page itself, and one language. */
const FIRST_PAGE = ["index.html", "src/features/home/HomePage.tsx", "src/i18n/uk.ts"];

function filesOf(key, seen = new Set()) {
  if (seen.has(key)) return seen;
  seen.add(key);
  for (const imported of manifest[key]?.imports ?? []) filesOf(imported, seen);
  return seen;
}

const chunks = new Set(FIRST_PAGE.flatMap((key) => [...filesOf(key)]));
let total = 0;
for (const key of chunks) {
  const chunk = manifest[key];
  if (!chunk) throw new Error(`${key} is not in the build's manifest`);
  const bytes = gzipSync(readFileSync(new URL(chunk.file, dist)), { level: 9 }).length;
  total += bytes;
  console.log(`${String(bytes).padStart(8)}  ${chunk.file}`);
}
console.log(`${String(total).padStart(8)}  of ${BUDGET_BYTES} bytes for the first page`);
if (total > BUDGET_BYTES) process.exit(1);
