import { readFileSync } from "node:fs";
import { transformWithOxc, type Plugin } from "vite";

/**
 * Put `file` into the head as a hashed classic script, which runs before the first paint.
 *
 * Modules run after the page is parsed, and the Content-Security-Policy allows no inline script.
 */
export function earlyScript(file: string, name: string): Plugin {
  let served = "";
  return {
    name: "early-script",
    apply: "build",
    async buildStart() {
      const source = readFileSync(file, "utf8");
      const { code } = await transformWithOxc(source, file, { sourcemap: false });
      served = this.emitFile({ type: "asset", name, source: code });
    },
    transformIndexHtml: {
      order: "post",
      handler(_html, context) {
        const asset = Object.values(context.bundle ?? {}).find((chunk) => chunk.type === "asset" && chunk.names.includes(name));
        if (!asset || !served) throw new Error(`${name} was not emitted`);
        return [{ tag: "script", attrs: { src: `/${asset.fileName}` }, injectTo: "head-prepend" }];
      },
    },
  };
}
