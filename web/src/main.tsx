import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { BrowserRouter } from "react-router";
import { Problem } from "./api/problem";
import { App } from "./App";
import { initI18n } from "./lib/i18n";
import { preventDropNavigation } from "./lib/dragAndDrop";
import { reloadIfOutdated } from "./components/lazyPage";
import { registerServiceWorker } from "./lib/serviceWorker";
import { ErrorBoundary } from "./components/ui/ErrorBoundary";
import { chooseTheme, chosenTheme } from "./lib/theme";
import { initOutbox } from "./stores/outbox";
import { initPresence } from "./stores/presence";
import { initUnread } from "./stores/unread";
import { initSession } from "./stores/session";
import "./styles/base.css";

const MAX_TRIES = 3;

const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 10_000,
      retry: (failures, error) => failures < MAX_TRIES && error instanceof Problem && error.isTemporary,
    },
  },
});

// A part that another part needs cannot be loaded: after an upgrade the old ones are gone.
addEventListener("vite:preloadError", () => void reloadIfOutdated());

chooseTheme(chosenTheme());
initSession();
initPresence();
initOutbox();
initUnread();
preventDropNavigation();
registerServiceWorker();
await initI18n();

const root = document.getElementById("root");
if (!root) throw new Error("index.html has no #root");
createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={queryClient}>
      <BrowserRouter>
        <ErrorBoundary>
          <App />
        </ErrorBoundary>
      </BrowserRouter>
    </QueryClientProvider>
  </StrictMode>,
);
