import { readFileSync } from "node:fs";
import { transformWithOxc, type Plugin, type Rolldown } from "vite";

/** A lazy part of the pages that is on the page of some addresses from the start. */
export interface FirstPart {
  /** A regular expression for the paths of these addresses. */
  path: string;
  /** Its module, from `src/` on. */
  module: string;
  /** A media query that must match, too. */
  media?: string;
}

interface Preloads {
  parts: { path: string; media?: string; files: string[] }[];
  /** The files of the texts in each language. */
  texts: Record<string, string[]>;
}

/**
 * Put `file` into the head as a hashed classic script, which runs before the first paint, with the names of what it preloads.
 *
 * Modules run after the page is parsed, and the Content-Security-Policy allows no inline script.
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

/** The chunk of a module that is imported dynamically, and all that it imports, without the entry and what that imports. */
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
