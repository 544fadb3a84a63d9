import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";
import { chunkGroups } from "./build/chunks.ts";
import { chatWidget } from "./build/chatWidget.ts";
import { earlyScript } from "./build/earlyScript.ts";
import { firstParts } from "./build/firstParts.ts";
import { serviceWorker } from "./build/serviceWorker.ts";

/** A running city for `npm run dev`; its pages' own paths stay with Vite. */
const city = process.env.CITY_URL ?? "http://127.0.0.1:7001";
const cityApi =
  "^/(city/(citizens|direct|feed|home|markdown|me|media|people|preview|push|rooms|search|sign-in|site)|api|secondme/|ws/|openapi\\.json|docs)";

export default defineConfig({
  plugins: [
    react(),
    earlyScript(fileURLToPath(new URL("src/early.js", import.meta.url)), firstParts, ["uk", "en"]),
    serviceWorker(fileURLToPath(new URL("worker/serviceWorker.ts", import.meta.url))),
    chatWidget(
      fileURLToPath(new URL("widget/widget.ts", import.meta.url)),
      fileURLToPath(new URL("widget/widget.css", import.meta.url)),
    ),
  ],
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    // Vite asks for a page's style sheet once: without a network the page would come later, and without its styles.
    cssCodeSplit: false,
    chunkSizeWarningLimit: 400,
    manifest: true,
    rolldownOptions: { output: { codeSplitting: { groups: chunkGroups } } },
  },
  worker: { format: "es" },
  server: { proxy: { [cityApi]: { target: city, ws: true } } },
  preview: { proxy: { [cityApi]: { target: city, ws: true } } },
});
