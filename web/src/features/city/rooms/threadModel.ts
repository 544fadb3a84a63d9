import { createStore, type StoreApi } from "zustand";
import { city, type PagePosition } from "../../../api/city";
import { Problem } from "../../../api/problem";
import type { Message, Room } from "../../../api/types";
import { markThreadRead, threadReadUpTo } from "../../../lib/readMarks";
import { Conversation, type ConversationState } from "./conversation";
import type { RoomModel } from "./roomModel";
import { EMPTY_TIMELINE, PAGE_SIZE, withMessage, type Timeline } from "./timeline";

export interface ThreadState extends ConversationState {
  isLoaded: boolean;
  /** Why the thread cannot be shown. */
  error: unknown;
}

/** The thread of a message, beside the room: its replies in pages, and live from the WebSocket of the room. */
export class ThreadModel extends Conversation {
  readonly store: StoreApi<ThreadState>;
  private stopFollowing: () => void = () => undefined;
  /** Messages that arrive while the thread is being loaded; null at other times. */
  private arrived: Message[] | null = null;
  private loads = 0;
  private readId: string | null = null;

  constructor(
    private readonly main: RoomModel,
    private readonly rootId: string,
  ) {
    super(main.name, rootId, main.environment);
    const root = main.loadedMessage(rootId);
    this.store = createStore(() => ({
      timeline: EMPTY_TIMELINE,
      root,
      unread: null,
      isLoadingOlder: false,
      problem: null,
      isLoaded: false,
      error: null,
    }));
  }

  start(): void {
    this.stop();
    const leaveOutbox = this.followOutbox();
    const leaveRoom = this.main.subscribe({
      onMessage: (message) => this.handleMessage(message),
      onLoaded: () => void this.load(),
    });
    this.stopFollowing = () => {
      leaveOutbox();
      leaveRoom();
    };
    void this.load();
  }

  stop(): void {
    this.stopFollowing();
    this.loads += 1;
  }

  override setTyping(isTyping: boolean): void {
    this.main.setTyping(isTyping);
  }

  /** Store that the thread was read, and send a read receipt for its last reply. */
  override readToEnd(): void {
    const room = this.room();
    const last = this.store.getState().timeline.messages.at(-1);
    if (!room || !last || this.live) return;
    markThreadRead(this.environment.me(), room.id, this.rootId, last.seq);
    if (last.id !== this.readId && this.main.sendReceipt(last.id)) this.readId = last.id;
  }

  protected override room(): Room | null {
    return this.main.store.getState().room;
  }

  protected override fetchPage(position: PagePosition, limit: number): Promise<Message[]> {
    return city.replies(this.name, this.rootId, position, limit);
  }

  protected override applyResponse(before: Message | null, answer: Message): void {
    if (this.shows(answer)) super.applyResponse(before, answer);
    else if (answer.id === this.rootId && this.loadedMessage(answer.id) === before) this.store.setState({ root: answer });
  }

  /** Load the root and the newest replies; messages that arrive meanwhile are newer than the response. */
  private async load(): Promise<void> {
    const load = ++this.loads;
    this.arrived = [];
    try {
      const [root, replies] = await Promise.all([this.loadRoot(), city.replies(this.name, this.rootId, null, PAGE_SIZE)]);
      if (load !== this.loads) return;
      this.storeAuthors([root, ...replies]);
      this.live = null;
      this.store.setState({ root, timeline: begin(root, replies), isLoaded: true, error: null });
      this.showUnread();
      for (const message of this.endLoad()) this.handleMessage(message);
    } catch (error) {
      if (load !== this.loads) return;
      this.endLoad();
      this.store.setState({ error });
    }
  }

  private endLoad(): readonly Message[] {
    const arrived = this.arrived ?? [];
    this.arrived = null;
    return arrived;
  }

  private async loadRoot(): Promise<Message> {
    const known = this.main.loadedMessage(this.rootId);
    if (known) return known;
    const page = await city.messagesAround(this.name, this.rootId, 1);
    const root = page.find(({ id }) => id === this.rootId);
    if (!root) throw new Problem(404, "no_such_message", "the room has no such message");
    return root;
  }

  private showUnread(): void {
    const room = this.room();
    const { unread, timeline } = this.store.getState();
    if (!room || unread) return;
    const after = threadReadUpTo(this.environment.me(), room.id, this.rootId);
    this.store.setState({ unread: { after, upTo: timeline.messages.at(-1)?.seq ?? after } });
  }

  private handleMessage(message: Message): void {
    if (message.id !== this.rootId && !this.shows(message)) return;
    if (this.arrived) this.arrived.push(message);
    else if (message.id === this.rootId) this.store.setState({ root: message });
    else this.updateTimeline((timeline) => withMessage(timeline, message));
  }
}

/** The timeline after a load. Pages are limited in bytes, so only the thread's count says whether there are older replies. */
function begin({ thread }: Message, replies: readonly Message[]): Timeline {
  const count = replies.filter(({ deleted }) => !deleted).length;
  return { ...EMPTY_TIMELINE, messages: replies, hasOlder: replies.length > 0 && count < (thread?.count ?? 0) };
}
