/*
 * The service worker of the pages: pages open without a network, too, and an open tab finds the files of its build after an
 * upgrade.
 *
 * Navigations to pages go to the network first; the stored document is served only if no response comes. Files under /assets/ are
 * served from the cache first, as their names change with their content. Nothing else is stored or answered here: no API
 * responses, no tokens, no media.
 *
 * Each build has a cache of its own. A new worker fills its cache while the old worker still serves, and waits until the tabs of
 * the old one are closed; then it removes the other caches, so that no open tab loses files of its build.
 *
 * A push from the city becomes a notification; a click on it opens the message.
 */

/** web/build/serviceWorker.ts inserts the hash of the build, and the paths of its files. */
declare const BUILD: string;
declare const ENTRY: string;
declare const FILES: readonly string[];

const worker = self as unknown as ServiceWorkerGlobalScope;

const CACHES = "city-pages-";
const CACHE = CACHES + BUILD;
const DOCUMENT = "/";
/** Milliseconds without a status line after which a navigation counts as failed, as for requests of the pages. */
const ANSWER_WITHIN_MS = 20_000;
/** The paths of the pages (App.tsx); the paths in the lookahead belong to the API. */
const PAGE =
  /^\/(city(\/(?!(citizens|direct|feed|home|markdown|me|media|people|preview|push|rooms|search|sign-in|site)(\/|$))[^/]+(\/[^/]+)?)?|secondme|search|places|agents(\/[^/]+)?|(nodes|microdao)\/[^/]+)?$/;

worker.addEventListener("install", (event) => event.waitUntil(install()));
worker.addEventListener("activate", (event) => event.waitUntil(activate()));
worker.addEventListener("fetch", (event) => {
  const { method, mode, url } = event.request;
  const { origin, pathname } = new URL(url);
  if (method !== "GET" || origin !== worker.location.origin) return;
  if (mode === "navigate" && PAGE.test(pathname)) event.respondWith(page(event));
  else if (mode !== "navigate" && pathname.startsWith("/assets/")) event.respondWith(asset(event));
});

worker.addEventListener("push", (event) => event.waitUntil(showPush(event.data)));
worker.addEventListener("notificationclick", (event) => event.waitUntil(openMessage(event.notification)));

/** Store the build. Throws if the city does not serve it, as one of several processes may in an upgrade; the browser retries. */
async function install(): Promise<void> {
  const found = await fetch(DOCUMENT, { cache: "no-cache" });
  const isThisBuild = found.ok && !found.redirected && (await found.clone().text()).includes(ENTRY);
  if (!isThisBuild) throw new Error(`${DOCUMENT} is not the document of the build ${BUILD}`);
  const cache = await caches.open(CACHE);
  const { connection } = navigator as { connection?: { saveData?: boolean } };
  if (!connection?.saveData) await cache.addAll(FILES);
  // Stored last: a cache with a document is complete.
  await cache.put(DOCUMENT, found);
}

async function activate(): Promise<void> {
  await removeCaches((name) => name !== CACHE);
  await worker.registration.navigationPreload.enable();
  await worker.clients.claim();
}

async function page(event: FetchEvent): Promise<Response> {
  const answer = fromNetwork(event);
  event.waitUntil(answer.then(leaveIfGone).catch(() => undefined));
  const timeout = new Promise<never>((_resolve, reject) =>
    setTimeout(() => reject(new Error("no answer in time")), ANSWER_WITHIN_MS),
  );
  try {
    return await Promise.race([answer, timeout]);
  } catch {
    return (await storedDocument()) ?? answer;
  }
}

/** The network's response. The browser may have sent the request already, while this worker started. */
async function fromNetwork(event: FetchEvent): Promise<Response> {
  const preloaded = (await event.preloadResponse) as Response | undefined;
  return preloaded ?? fetch(event.request);
}

async function asset(event: FetchEvent): Promise<Response> {
  const stored = await caches.match(event.request, { ignoreVary: true });
  if (stored) return stored;
  const answer = await fetch(event.request);
  if (answer.status === 200) event.waitUntil(store(event.request, answer.clone()));
  return answer;
}

/** Whether this worker is unregistering. */
let isLeaving = false;

async function store(request: Request, answer: Response): Promise<void> {
  if (!(await caches.has(CACHE))) return;
  await (await caches.open(CACHE)).put(request, answer);
  // The cache may have been removed in between: then `open` has created it again.
  if (isLeaving) await caches.delete(CACHE);
}

/** The document of the newest build that is completely stored. */
async function storedDocument(): Promise<Response | undefined> {
  for (const name of (await ownCaches()).reverse()) {
    const found = await caches.match(DOCUMENT, { cacheName: name });
    if (found) return found;
  }
  return undefined;
}

/**
 * Unregister if the city no longer has this script: the pages are switched off, or an older version serves them.
 *
 * Browsers do not remove a worker whose script is 404. The script is requested only if `answer` is not the stored document.
 */
async function leaveIfGone(answer: Response): Promise<void> {
  const stored = documentHash(await storedDocument());
  if (answer.ok && stored !== undefined && documentHash(answer) === stored) return;
  const script = await fetch(worker.location.href, { cache: "no-store" });
  const isScript = script.headers.get("Content-Type")?.includes("javascript");
  const isGone = script.ok ? !isScript : script.status === 404 || script.status === 410;
  if (!isGone) return;
  isLeaving = true;
  await removeCaches(() => true);
  await worker.registration.unregister();
}

/** The hash of the built document, with which an ETag begins; the rest differs, as each page has its own tags in the document. */
function documentHash(answer: Response | undefined): string | undefined {
  return /[0-9a-f]{32}/.exec(answer?.headers.get("ETag") ?? "")?.[0];
}

async function ownCaches(): Promise<string[]> {
  return (await caches.keys()).filter((name) => name.startsWith(CACHES));
}

async function removeCaches(isOver: (name: string) => boolean): Promise<void> {
  await Promise.all((await ownCaches()).filter(isOver).map((name) => caches.delete(name)));
}

/** The payload of a push: see `PUT /city/me/push` in docs/reference/api.md. */
interface Push {
  kind: "mention" | "direct";
  language: "uk" | "en";
  room_id: string;
  slug: string;
  room_name: string | null;
  author_name: string;
  /** Empty for a message of an encrypted chat. */
  text: string;
  url: string;
}

const NEW_MESSAGE = { uk: "Нове повідомлення", en: "New message" };
/** The same as in lib/names.ts. */
const DIRECTION_CONTROLS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** Show one notification for each room, unless a focused window shows the room. Those of the page have the same tag. */
async function showPush(data: PushMessageData | null): Promise<void> {
  const push = data?.json() as Push | undefined;
  if (!push) return;
  const rooms = [push.slug, push.room_id].map((name) => `/city/${encodeURIComponent(name)}`);
  const isShown = ({ focused, url }: WindowClient) => focused && rooms.some((room) => isWithin(new URL(url).pathname, room));
  if ((await topWindows()).some(isShown)) return;
  const title = [push.author_name, push.room_name].filter((name) => name !== null).join(" · ");
  await worker.registration.showNotification(title.replace(DIRECTION_CONTROLS, ""), {
    body: push.text || NEW_MESSAGE[push.language],
    lang: push.language,
    tag: push.room_id,
    icon: "/icons/icon-192.png",
    data: push.url,
  });
}

function isWithin(path: string, room: string): boolean {
  return path === room || path.startsWith(`${room}/`);
}

/** Open the message in an open window, without loading it again (hooks/usePush.ts); else in a new one. */
async function openMessage(notification: Notification): Promise<void> {
  notification.close();
  const path = String(notification.data);
  const windows = await topWindows();
  const open = windows.find(({ visibilityState }) => visibilityState === "visible") ?? windows[0];
  if (!open) await worker.clients.openWindow(path);
  else (await open.focus()).postMessage({ type: "open", path });
}

async function topWindows(): Promise<WindowClient[]> {
  const windows = await worker.clients.matchAll({ type: "window", includeUncontrolled: true });
  return windows.filter(({ frameType }) => frameType === "top-level");
}
