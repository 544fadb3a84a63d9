import { readFileSync } from "node:fs";
import { transformWithOxc, type Plugin, type Rolldown } from "vite";

/** A dynamically imported module that the pages of some paths render at once. */
export interface FirstPart {
  /** A regular expression for these paths. */
  path: string;
  /** The path of the module below `src/`. */
  module: string;
  /** A media query that must match as well. */
  media?: string;
}

interface Preloads {
  parts: { path: string; media?: string; files: string[] }[];
  /** The files of the translations, by language. */
  texts: Record<string, string[]>;
}

/**
 * Emit `file` as a hashed classic script in the head of the document, with the names of the files that it preloads.
 *
 * A classic script runs before the first paint. Modules run after the document is parsed, and the CSP allows no inline script.
 */
export function earlyScript(file: string, firstParts: readonly FirstPart[], languages: readonly string[]): Plugin {
  const name = "early.js";
  return {
    name: "early-script",
    apply: "build",
    async buildStart() {
      const source = readFileSync(file, "utf8");
      const { code } = await transformWithOxc(source, file, { sourcemap: false });
      this.emitFile({ type: "asset", name, source: code });
    },
    transformIndexHtml: {
      order: "post",
      handler(_html, { bundle = {} }) {
        const asset = Object.values(bundle).find((output) => output.type === "asset" && output.names.includes(name));
        if (!asset) throw new Error(`${name} was not emitted`);
        const preloads: Preloads = {
          parts: firstParts.map(({ module, ...when }) => ({ ...when, files: filesOf(module, bundle) })),
          texts: Object.fromEntries(languages.map((language) => [language, filesOf(`i18n/${language}.ts`, bundle)])),
        };
        const attrs = { src: `/${asset.fileName}`, "data-preloads": JSON.stringify(preloads) };
        return [{ tag: "script", attrs, injectTo: "head-prepend" }];
      },
    },
  };
}

/** The chunk of a dynamically imported module and the chunks that it imports, without the entry and its imports. */
function filesOf(module: string, bundle: Rolldown.OutputBundle): string[] {
  const chunks = Object.values(bundle).filter((output) => output.type === "chunk");
  const entry = chunks.find(({ isEntry }) => isEntry);
  const part = chunks.find(({ isDynamicEntry, facadeModuleId }) => isDynamicEntry && facadeModuleId?.endsWith(`/src/${module}`));
  if (!entry || !part) throw new Error(`no chunk of ${module} to preload`);
  const known = new Set([entry.fileName, ...entry.imports]);
  const files = new Set<string>();
  const add = (name: string) => {
    if (known.has(name) || files.has(name)) return;
    files.add(name);
    chunks.find(({ fileName }) => fileName === name)?.imports.forEach(add);
  };
  add(part.fileName);
  return [...files];
}
