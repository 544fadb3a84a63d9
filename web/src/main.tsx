import { notifyManager, QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode, Suspense } from "react";
import { createRoot } from "react-dom/client";
import { Problem } from "./api/problem";
import { App, preloadPage } from "./App";
import { PageRouter } from "./components/PageRouter";
import { isEmbedded } from "./lib/embedded";
import { initI18n } from "./lib/i18n";
import { preventDropNavigation } from "./lib/dragAndDrop";
import { lazyPage, reloadIfOutdated } from "./components/lazyPage";
import { registerServiceWorker } from "./lib/serviceWorker";
import { reportShown } from "./lib/shownTabs";
import { ErrorBoundary } from "./components/ui/ErrorBoundary";
import { chooseTheme, chosenTheme } from "./lib/theme";
import { initOutbox } from "./stores/outbox";
import { initPresence } from "./stores/presence";
import { initUnread } from "./stores/unread";
import { initResponseCache } from "./stores/responseCache";
import { initSession } from "./stores/session";
import "./styles/base.css";

const MAX_TRIES = 3;
/** The longest wait for the page: after that the header is rendered without it. */
const MAX_PRELOAD_MS = 1_000;

// By default the next timer renders that a mutation has started: the second click of a double click would start another one.
notifyManager.setScheduler(queueMicrotask);

const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 10_000,
      // Each query begins even without a network: stored responses are read from the browser.
      networkMode: "offlineFirst",
      retry: (failures, error) => failures < MAX_TRIES && error instanceof Problem && error.isTemporary,
    },
  },
});

// A chunk that another one needs cannot be loaded: after an upgrade the old chunks are gone.
addEventListener("vite:preloadError", () => void reloadIfOutdated());

const EmbedApp = lazyPage(() => import("./features/embed/EmbedApp"));

if (!isEmbedded) chooseTheme(chosenTheme());
initSession();
if (!isEmbedded) initResponseCache();
initPresence();
initOutbox();
initUnread();
if (!isEmbedded) reportShown();
preventDropNavigation();
registerServiceWorker();
const language = initI18n(isEmbedded ? new URLSearchParams(location.search).get("lang") : null);
const page = isEmbedded ? EmbedApp.preload() : preloadPage(location.pathname);
await Promise.all([language, Promise.race([page, new Promise((resolve) => setTimeout(resolve, MAX_PRELOAD_MS))])]);

const root = document.getElementById("root");
if (!root) throw new Error("index.html has no #root");
createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={queryClient}>
      <PageRouter hasEntries={!isEmbedded}>
        <ErrorBoundary>
          {isEmbedded ? (
            <Suspense>
              <EmbedApp />
            </Suspense>
          ) : (
            <App />
          )}
        </ErrorBoundary>
      </PageRouter>
    </QueryClientProvider>
  </StrictMode>,
);
