import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { BrowserRouter } from "react-router";
import { Problem } from "./api/problem";
import { App } from "./App";
import { beginSpeaking } from "./lib/i18n";
import { keepPageOnDrop } from "./lib/drops";
import { chooseTheme, chosenTheme } from "./lib/theme";
import { keepInTab, keptInTab } from "./lib/storage";
import { beginOutbox } from "./stores/outbox";
import { beginSession } from "./stores/session";
import "./styles/base.css";

const MAX_TRIES = 3;
const RELOADED = "city.reloaded";
/** After which another missing part is another upgrade. */
const SETTLED_MS = 60_000;

const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 10_000,
      retry: (failures, error) => failures < MAX_TRIES && error instanceof Problem && error.isPassing,
    },
  },
});

// After an upgrade of the city the parts that an open page still has to load are gone: it begins anew, once.
addEventListener("vite:preloadError", (event) => {
  if (keptInTab(RELOADED) !== null) return;
  keepInTab(RELOADED, "1");
  event.preventDefault();
  location.reload();
});
addEventListener("load", () => setTimeout(() => keepInTab(RELOADED, null), SETTLED_MS));

chooseTheme(chosenTheme());
beginSession();
beginOutbox();
keepPageOnDrop();
await beginSpeaking();

const root = document.getElementById("root");
if (!root) throw new Error("index.html has no #root");
createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={queryClient}>
      <BrowserRouter>
        <App />
      </BrowserRouter>
    </QueryClientProvider>
  </StrictMode>,
);
