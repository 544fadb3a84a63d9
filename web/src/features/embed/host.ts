/** Messages between an embedded chat and `widget.js` on the page around it. */
export interface HostState {
  title: string;
  /** What the button is called while the chat is closed, and while it is open. */
  labels: readonly [string, string];
  /** Empty for nothing unread. */
  unread: string;
  /** Whether somebody in the room is online. */
  isLit: boolean;
  accent: string;
  onAccent: string;
}

/** The page around the chat. Its origin comes from the address: a page that claims another one gets no messages. */
export class Host {
  constructor(private readonly origin: string) {}

  report(state: HostState): void {
    parent.postMessage({ city: "state", ...state }, this.origin);
  }

  close(): void {
    parent.postMessage({ city: "close" }, this.origin);
  }

  /** Call `listener` when the chat is opened and closed. Returns how to stop. */
  onShown(listener: (isShown: boolean) => void): () => void {
    const receive = ({ data, origin, source }: MessageEvent<{ city?: unknown; isShown?: unknown } | null>) => {
      if (origin !== this.origin || source !== parent || data?.city !== "shown") return;
      listener(data.isShown === true);
    };
    addEventListener("message", receive);
    return () => removeEventListener("message", receive);
  }
}
