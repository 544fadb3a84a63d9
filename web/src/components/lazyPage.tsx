import { lazy, useEffect, useState, type ComponentType } from "react";
import { Problem } from "../api/problem";
import { ErrorBoundary } from "./ui/ErrorBoundary";
import { setSessionItem, getSessionItem } from "../lib/storage";

type Load = () => Promise<{ default: ComponentType }>;

/** A component with a function that loads what it shows, so that it renders at once; a failure is left to the rendering. */
export type LazyPage = ComponentType & { preload: () => Promise<void> };

const preloads: LazyPage["preload"][] = [];

/**
 * A page that is loaded when it is shown first.
 *
 * Where it cannot be loaded the notice about that stands in its place, and it is tried again by a click, when the network is
 * back, and when it is opened once more. Nothing but the city that serves other pages by now makes the document load anew.
 */
export function lazyPage(load: Load): LazyPage {
  let isRetry = false;
  let hasFailed = false;
  /** React shows the fallback of a `lazy` component for 300 ms, also where its module is there already. */
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
      // It is loaded again when it is shown.
    }
  };
  preloads.push(preload);
  let Loaded = lazy(tryLoad);
  const renew = () => {
    isRetry = true;
    hasFailed = false;
    Loaded = lazy(tryLoad);
  };
  function Page() {
    const [Shown, setShown] = useState(() => Ready ?? Loaded);
    const retry = () => {
      renew();
      setShown(() => Loaded);
    };
    // Not when it fails: while it loads, this component is rendered from its beginning, and would load without end.
    useEffect(
      () => () => {
        if (hasFailed) renew();
      },
      [],
    );
    return (
      <ErrorBoundary onRetry={retry}>
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
    // A browser may say that it is online before requests succeed: a retry loads again once the city has answered.
    if (!(await reloadIfOutdated()) || !isRetry) throw error;
    return load().catch((missing: unknown) => {
      reload();
      throw missing;
    });
  }
}

/** Load the other pages while nothing else happens, for when the network is away. */
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
/** After which another missing part is another upgrade; milliseconds. */
const MIN_RELOAD_INTERVAL_MS = 60_000;
const TIMEOUT_MS = 10_000;

/**
 * Load the document anew when the city serves another build than this one. Returns whether the city serves this build.
 *
 * A part that is missing although the city serves this build is taken for gone, too: browsers remember modules that failed.
 */
export async function reloadIfOutdated(): Promise<boolean> {
  const served = await servedDocument();
  const entry = document.querySelector('script[type="module"][src]')?.getAttribute("src");
  if (served === null || !entry) return false;
  const isSame = served.includes(entry);
  if (!isSame) reload();
  return isSame;
}

/** Load the document anew, at most once in `MIN_RELOAD_INTERVAL_MS`. */
function reload(): void {
  const reloadedAt = Number(getSessionItem(RELOADED_AT_KEY) ?? "0");
  if (Date.now() - reloadedAt < MIN_RELOAD_INTERVAL_MS) return;
  setSessionItem(RELOADED_AT_KEY, String(Date.now()));
  location.reload();
}

/** Null when the city, or the way to it, is away. */
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
