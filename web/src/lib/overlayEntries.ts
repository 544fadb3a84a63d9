/** The state of a history entry, as far as it is about overlays: how many of them are open over its page. */
interface EntryState {
  overlays?: number;
}

type BrowserHistory = Pick<History, "state" | "pushState" | "replaceState" | "go">;

/**
 * The longest wait for the browser to go back. It always arrives, except in a tab whose history was cut. It may arrive late on a busy
 * machine, and would leave the page if this wait had ended before.
 */
const MAX_TRAVERSAL_MS = 10_000;

/**
 * A history entry for each open overlay (dialog, menu, picture viewer), so that Back closes the topmost overlay, and the page stays.
 *
 *     entries:  … page A │ page B │ B with one overlay │ B with two overlays
 *
 * Entries of overlays have the URL and state of their page, and their number in `overlays`. Those of overlays that closed in
 * another way (Escape, a button, a reload) are left by going back. A navigation first leaves the entries of all overlays and
 * then starts at the entry of the page, so Back never arrives at an overlay that is closed; Forward to one returns at once.
 */
export class OverlayEntries {
  private readonly open: { close: () => void }[] = [];
  private navigations: (() => void)[] = [];
  private traversal: ReturnType<typeof setTimeout> | null = null;
  /** Null until `start`: then overlays have no entries. */
  private history: BrowserHistory | null = null;

  /** Begin to keep entries in this history. To be called once; `onPopState` is to be called for each event of that name. */
  start(history: BrowserHistory): void {
    this.history = history;
    this.adjust();
  }

  /** Add an overlay on top of the others. `close` is called when the reader goes back. Returns a function that removes it. */
  add(close: () => void): () => void {
    const overlay = { close };
    this.open.push(overlay);
    this.adjust();
    return () => {
      const at = this.open.indexOf(overlay);
      if (at >= 0) this.open.splice(at, 1);
      // One dialog may take the place of another in the same render.
      queueMicrotask(() => this.adjust());
    };
  }

  /** Call `navigate` at the entry of the page: at once, or after leaving the entries of overlays. */
  navigate(navigate: () => void): void {
    if (this.traversal === null && this.depth === 0) {
      navigate();
      return;
    }
    this.navigations.push(navigate);
    if (this.traversal === null) this.goBack(this.depth);
  }

  onPopState(): void {
    if (this.traversal === null) {
      for (const { close } of this.open.splice(this.depth).reverse()) close();
    } else clearTimeout(this.traversal);
    this.traversal = null;
    const { navigations } = this;
    this.navigations = [];
    for (const navigate of navigations) this.navigate(navigate);
    this.adjust();
  }

  /** The number of overlays that the current entry stands for. */
  private get depth(): number {
    return (this.history?.state as EntryState | null)?.overlays ?? 0;
  }

  /** Add the missing entries, or leave those of closed overlays. */
  private adjust(): void {
    if (!this.history || this.traversal !== null) return;
    if (this.depth > this.open.length) this.goBack(this.depth - this.open.length);
    while (this.depth < this.open.length) this.history.pushState(this.stateWith(this.depth + 1), "");
  }

  private goBack(count: number): void {
    this.traversal = setTimeout(() => {
      this.history?.replaceState(this.stateWith(0), "");
      this.onPopState();
    }, MAX_TRAVERSAL_MS);
    this.history?.go(-count);
  }

  private stateWith(overlays: number): object {
    return { ...(this.history?.state as object | null), overlays };
  }
}

/** The overlays of this document. */
export const overlayEntries = new OverlayEntries();
