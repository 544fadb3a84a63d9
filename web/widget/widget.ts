/*
 * The chat of a room on a page of another site (docs/how-to/embed-chat.md): a button that opens a frame of the city.
 *
 * The frame reports by `postMessage` how many people are online and what is unread; the button appears with its first message. The
 * browser loads no frame on a site that `web.embed_ancestors` does not name, and then there is no button either.
 */

/** The stylesheet; web/build/chatWidget.ts inserts it. */
declare const STYLE: string;

/** The messages of the frame; an import would make this file a module, which has no `document.currentScript`. */
type FrameState = import("../src/features/embed/host.ts").HostState & { city: string };

(() => {
  const script = document.currentScript as HTMLScriptElement;
  const { room = "general", ...look } = script.dataset;
  const { origin } = new URL(script.src);
  const host = document.createElement("div");
  const root = host.attachShadow({ mode: "open" });
  const [button, count, dot, frame] = ["button", "b", "i", "iframe"].map((tag) => document.createElement(tag)) as [
    HTMLButtonElement,
    HTMLElement,
    HTMLElement,
    HTMLIFrameElement,
  ];
  let isOpen = false;
  let labels: readonly string[] = [];

  const name = () => (button.ariaLabel = labels[+isOpen] ?? "");
  const show = (opens: boolean) => {
    isOpen = opens;
    frame.hidden = !opens;
    button.ariaExpanded = String(opens);
    name();
    frame.contentWindow?.postMessage({ city: "shown", isShown: opens }, origin);
    (opens ? frame : button).focus();
  };
  const listen = ({ data, origin: from, source }: MessageEvent<FrameState>) => {
    if (from !== origin || source !== frame.contentWindow) return;
    if (data.city === "close") show(false);
    if (data.city !== "state") return;
    labels = data.labels;
    frame.title = data.title;
    count.textContent = data.unread;
    dot.hidden = !data.isLit;
    button.style.background = data.accent;
    button.style.color = data.onAccent;
    button.hidden = false;
    name();
  };
  const start = () => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    root.adoptedStyleSheets = [sheet];
    frame.hidden = button.hidden = true;
    frame.allow = "clipboard-write";
    frame.src = `${origin}/embed/${encodeURIComponent(room)}?${new URLSearchParams({ ...look, host: location.origin })}`;
    button.ariaExpanded = "false";
    button.onclick = () => show(!isOpen);
    button.append(count, dot);
    root.append(button, frame);
    document.body.append(host);
    addEventListener("message", listen);
  };
  if (document.readyState === "complete") start();
  else addEventListener("load", start);
})();
