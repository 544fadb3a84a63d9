import { readFileSync } from "node:fs";
import { minify, transformWithOxc, type Plugin } from "vite";

/** The size limit of `/widget.js`, which other sites load with each of their pages. */
const BUDGET_BYTES = 2_048;

/** Emit `script` as `/widget.js`, in which the text of `style` replaces `STYLE`. Throws when the result is over its budget. */
export function chatWidget(script: string, style: string): Plugin {
  return {
    name: "chat-widget",
    apply: "build",
    async generateBundle() {
      const { code } = await transformWithOxc(readFileSync(script, "utf8"), script, { sourcemap: false });
      const rules = JSON.stringify(withoutSpace(readFileSync(style, "utf8")));
      const { code: source } = await minify(
        "widget.js",
        code.replace("STYLE", () => rules),
      );
      const bytes = Buffer.byteLength(source);
      if (bytes > BUDGET_BYTES) throw new Error(`widget.js has ${bytes} bytes, more than ${BUDGET_BYTES}`);
      this.emitFile({ type: "asset", fileName: "widget.js", source });
    },
  };
}

/** Remove comments and whitespace that CSS does not need; between the parts of a value one space stays. */
function withoutSpace(css: string): string {
  return css
    .replaceAll(/\/\*[^]*?\*\//g, "")
    .replaceAll(/\s+/g, " ")
    .replaceAll(/\s*([{};,])\s*|(:) /g, "$1$2")
    .replaceAll(";}", "}")
    .trim();
}
