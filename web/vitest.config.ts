import { mergeConfig } from "vite";
import { defineConfig } from "vitest/config";
import viteConfig from "./vite.config.ts";

/** Apart from vite.config.ts, so that the build of a package needs no test runner. */
export default mergeConfig(
  viteConfig,
  defineConfig({
    test: {
      environment: "happy-dom",
      setupFiles: ["src/testing/setup.ts"],
      include: ["src/**/*.test.{ts,tsx}"],
      restoreMocks: true,
      // A test that times out goes on beside the next one; a busy machine is ten times slower than an idle one.
      testTimeout: 60_000,
    },
  }),
);
