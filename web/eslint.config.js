import jsxA11y from "eslint-plugin-jsx-a11y";
import reactHooks from "eslint-plugin-react-hooks";
import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: ["dist", "node_modules", "src/api/schema.d.ts"] },
  {
    files: ["src/**/*.{ts,tsx}", "build/**/*.ts", "worker/**/*.ts", "widget/**/*.ts", "vite.config.ts"],
    extends: [
      ...tseslint.configs.strictTypeChecked,
      ...tseslint.configs.stylisticTypeChecked,
      jsxA11y.flatConfigs.strict,
      reactHooks.configs.flat["recommended-latest"],
    ],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      "@typescript-eslint/consistent-type-definitions": ["error", "interface"],
    },
  },
  // Layers, each of which imports only those before it: lib and api, outbox, stores, hooks, components, features.
  ...[
    ["src/{lib,api}/**", ["outbox", "stores", "hooks", "components", "features"]],
    ["src/outbox/**", ["stores", "hooks", "components", "features"]],
    ["src/stores/**", ["hooks", "components", "features"]],
    ["src/{hooks,components}/**", ["features"]],
  ].map(([files, upper]) => ({
    files: [files],
    ignores: ["**/*.test.*"],
    rules: { "no-restricted-imports": ["error", { patterns: [{ group: upper.map((folder) => `**/${folder}/**`) }] }] },
  })),
);
