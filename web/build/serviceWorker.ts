import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { transformWithOxc, type Plugin } from "vite";

/** The files that the service worker stores. Fonts are left out: a page needs few of them, and shows its text without them. */
const STORED = /^assets\/.+\.(js|css|svg)$/;

/** Emit `file` as `/service-worker.js`, so that its scope is `/`, with the names of the build's files in it. */
export function serviceWorker(file: string): Plugin {
  return {
    name: "service-worker",
    apply: "build",
    generateBundle: {
      order: "post",
      async handler(_options, bundle) {
        const document = bundle["index.html"];
        const entry = Object.values(bundle).find((output) => output.type === "chunk" && output.isEntry);
        if (document?.type !== "asset" || !entry) throw new Error("the build has no document or no entry");
        const files = Object.keys(bundle)
          .filter((name) => STORED.test(name))
          .sort();
        const { code } = await transformWithOxc(readFileSync(file, "utf8"), file, { sourcemap: false });
        const build = createHash("sha256")
          .update(document.source)
          .update(files.join("\n"))
          .update(code)
          .digest("hex")
          .slice(0, 16);
        const constants = { BUILD: build, ENTRY: entry.fileName, FILES: files.map((name) => `/${name}`) };
        const head = Object.entries(constants).map(([name, value]) => `const ${name} = ${JSON.stringify(value)};\n`);
        this.emitFile({ type: "asset", fileName: "service-worker.js", source: head.join("") + code });
      },
    },
  };
}
