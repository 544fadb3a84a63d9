/** The state that an embedded chat sends to `widget.js` on the page around it. */
export interface HostState {
  title: string;
  /** The label of the button while the chat is closed, and while it is open. */
  labels: readonly [string, string];
  /** Empty if nothing is unread. */
  unread: string;
  /** Whether somebody in the room is online. */
  isLit: boolean;
  accent: string;
  onAccent: string;
}

/** The page around the chat. Its origin is in the URL: a page that claims another origin gets no messages. */
export class Host {
  constructor(private readonly origin: string) {}

  report(state: HostState): void {
    parent.postMessage({ city: "state", ...state }, this.origin);
  }

  close(): void {
    parent.postMessage({ city: "close" }, this.origin);
  }

  /** Call `listener` when the chat is opened and closed. Returns a function that stops it. */
  onShown(listener: (isShown: boolean) => void): () => void {
    const receive = ({ data, origin, source }: MessageEvent<{ city?: unknown; isShown?: unknown } | null>) => {
      if (origin !== this.origin || source !== parent || data?.city !== "shown") return;
      listener(data.isShown === true);
    };
    addEventListener("message", receive);
    return () => removeEventListener("message", receive);
  }
}
