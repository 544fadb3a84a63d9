import { lazy, useEffect, useState, type ComponentType } from "react";
import { Problem } from "../api/problem";
import { ErrorBoundary, type Frame } from "./ui/ErrorBoundary";
import { setSessionItem, getSessionItem } from "../lib/storage";

type Load = () => Promise<{ default: ComponentType }>;

/** A component with a function that loads its module in advance, so that it renders at once; the rendering reports a failure. */
export type LazyPage = ComponentType<PageProps> & { preload: () => Promise<void> };

interface PageProps {
  /** Renders the notice of a failure; by default the notice is a page. */
  frame?: Frame;
}

const preloads: LazyPage["preload"][] = [];

/**
 * A page whose module is loaded when it is first shown.
 *
 * If the module cannot be loaded, a notice is shown instead, and it is loaded again by a click, when the network is back, and
 * when the page is opened once more. The document reloads only if the city serves another build, or if a retry fails though it
 * answers.
 */
export function lazyPage(load: Load): LazyPage {
  let isRetry = false;
  let hasFailed = false;
  /** The loaded component: React shows the fallback of a `lazy` component for 300 ms even if its module is loaded already. */
  let Ready: ComponentType | null = null;
  const tryLoad: Load = () =>
    loadPart(load, isRetry).catch((error: unknown) => {
      hasFailed = true;
      throw new Problem(0, "page_missing", String(error));
    });
  const preload = async () => {
    try {
      Ready = (await load()).default;
    } catch {
      // The page loads it again when it is shown.
    }
  };
  preloads.push(preload);
  let Loaded = lazy(tryLoad);
  const renew = () => {
    isRetry = true;
    hasFailed = false;
    Loaded = lazy(tryLoad);
  };
  function Page({ frame }: PageProps) {
    const [Shown, setShown] = useState(() => Ready ?? Loaded);
    const retry = () => {
      renew();
      setShown(() => Loaded);
    };
    // Renewed on unmount, not on failure: while the module loads, React renders this component anew, and would load without end.
    useEffect(
      () => () => {
        if (hasFailed) renew();
      },
      [],
    );
    return (
      <ErrorBoundary onRetry={retry} {...(frame && { frame })}>
        <Shown />
      </ErrorBoundary>
    );
  }
  return Object.assign(Page, { preload });
}

async function loadPart(load: Load, isRetry: boolean): ReturnType<Load> {
  try {
    return await load();
  } catch (error) {
    // A browser may report that it is online before requests succeed: a retry loads again once the city has answered.
    if (!(await reloadIfOutdated()) || !isRetry) throw error;
    return load().catch((missing: unknown) => {
      reload();
      throw missing;
    });
  }
}

/** Load the modules of the other pages some seconds after the start, for when the network is down. */
export function usePrefetchedPages(): void {
  useEffect(() => {
    const { connection } = navigator as { connection?: { saveData?: boolean } };
    if (connection?.saveData) return undefined;
    const timer = setTimeout(() => void prefetchAll(), PREFETCH_DELAY_MS);
    return () => clearTimeout(timer);
  }, []);
}

const PREFETCH_DELAY_MS = 3_000;

async function prefetchAll(): Promise<void> {
  for (const preload of preloads) await preload();
}

const RELOADED_AT_KEY = "city.reloaded";
/** A module that is missing later than this after a reload is due to another upgrade; milliseconds. */
const MIN_RELOAD_INTERVAL_MS = 60_000;
const TIMEOUT_MS = 10_000;

/**
 * Reload the document if the city serves another build than this one. Returns whether the city serves this build.
 *
 * A module that fails although the city serves this build counts as missing, too: browsers remember modules that failed.
 */
export async function reloadIfOutdated(): Promise<boolean> {
  const served = await servedDocument();
  const entry = document.querySelector('script[type="module"][src]')?.getAttribute("src");
  if (served === null || !entry) return false;
  const isSame = served.includes(entry);
  if (!isSame) reload();
  return isSame;
}

/** Reload the document, at most once in `MIN_RELOAD_INTERVAL_MS`. */
function reload(): void {
  const reloadedAt = Number(getSessionItem(RELOADED_AT_KEY) ?? "0");
  if (Date.now() - reloadedAt < MIN_RELOAD_INTERVAL_MS) return;
  setSessionItem(RELOADED_AT_KEY, String(Date.now()));
  location.reload();
}

/** The document that the city serves; null if the city cannot be reached. */
async function servedDocument(): Promise<string | null> {
  try {
    const response = await fetch("/", {
      cache: "no-store",
      headers: { Accept: "text/html" },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    return response.ok ? await response.text() : null;
  } catch {
    return null;
  }
}
