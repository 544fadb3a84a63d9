import { Problem } from "../api/problem";
import type { Media, Message, SubjectId } from "../api/types";
import type { Entry } from "../outbox/entry";
import type { Candidate } from "../outbox/leader";
import { Outbox, type OutboxMessage, type OutboxSender } from "../outbox/outbox";
import type { OutboxStorage } from "../outbox/storage";
import { FakeClock } from "./fakeClock";
import { message } from "./samples";

/** One browser: the state that its tabs share, in memory. */
export class FakeBrowser {
  readonly clock = new FakeClock();
  readonly tabs: FakeTab[] = [];
  readonly stored = new Map<string, Entry>();
  /** The leader, then the candidates in their order. */
  readonly queue: Candidate[] = [];
  person: OutboxSender | null = { userId: "u_1", token: "t1" };
  isFull = false;
  ids = 0;

  readonly storage: OutboxStorage = {
    all: () => Promise.resolve([...this.stored.values()].map((entry) => structuredClone(entry))),
    put: (entry) => {
      if (this.isFull) return Promise.reject(new DOMException("full", "QuotaExceededError"));
      this.stored.set(entry.id, structuredClone(entry));
      return Promise.resolve();
    },
    change: (id, change) => {
      const entry = this.stored.get(id);
      if (entry) this.stored.set(id, change(entry));
      return Promise.resolve();
    },
    remove: (ids) => {
      for (const id of ids) this.stored.delete(id);
      return Promise.resolve();
    },
  };

  open(): FakeTab {
    const tab = new FakeTab(this);
    this.tabs.push(tab);
    tab.outbox.start();
    return tab;
  }

  signIn(userId: SubjectId | null, token = `token of ${userId ?? ""}`): void {
    this.person = userId === null ? null : { userId, token };
    for (const tab of this.tabs) tab.outbox.wake();
  }

  /** Close a tab, with everything in its memory. */
  close(tab: FakeTab): void {
    this.tabs.splice(this.tabs.indexOf(tab), 1);
    tab.isClosed = true;
    tab.outbox.stop();
  }

  leave(candidate: Candidate): void {
    const wasFirst = this.queue[0] === candidate;
    this.queue.splice(this.queue.indexOf(candidate), 1);
    if (wasFirst) this.queue[0]?.onElected();
  }
}

export class FakeTab {
  isClosed = false;
  isFrozen = false;
  /** The requests of this tab, as `<token> <kind> <what>`. */
  readonly sent: string[] = [];
  /** The results of the next requests: a Problem is thrown, a promise is awaited; without one, the city accepts the request. */
  readonly answers: unknown[] = [];
  readonly delivered: Message[] = [];
  /** The ids of entries that other tabs added. */
  readonly addedElsewhere: string[] = [];
  readonly outbox: Outbox;
  private heard: (news: OutboxMessage) => void = () => undefined;

  constructor(private readonly browser: FakeBrowser) {
    this.outbox = new Outbox({
      storage: browser.storage,
      channel: {
        post: (news) => {
          for (const tab of browser.tabs) if (tab !== this && !tab.isFrozen) tab.heard(structuredClone(news));
        },
        subscribe: (heard) => {
          this.heard = heard;
        },
      },
      electLeader: (candidate) => {
        browser.queue.push(candidate);
        if (browser.queue[0] === candidate) candidate.onElected();
        return {
          steal: () => {
            const [was] = browser.queue;
            browser.queue.splice(browser.queue.indexOf(candidate), 1);
            browser.queue.unshift(candidate);
            was?.onLost();
            candidate.onElected();
          },
          stop: () => browser.leave(candidate),
        };
      },
      deliver: (entry, token, uploaded) => this.deliver(entry, token, uploaded),
      sender: () => browser.person,
      clock: browser.clock,
      random: () => 1,
      newId: () => `c${++browser.ids}`,
    });
    this.outbox.subscribe({
      onAddedInOtherTab: ({ id }) => void this.addedElsewhere.push(id),
      onSent: (_entry, said) => void this.delivered.push(said),
    });
  }

  get entries(): string[] {
    return this.outbox.store.getState().entries.map(({ id, state, tries }) => `${id} ${state} ${tries}`);
  }

  private async deliver(entry: Entry, token: string, uploaded: (media: Media) => Promise<void>): Promise<Message> {
    const { action } = entry;
    this.sent.push(`${token} ${entry.id} ${"body" in action ? action.body : action.kind}`);
    const answer = this.answers.shift();
    if (answer instanceof Promise) await answer;
    if (answer instanceof Problem) throw answer;
    if (action.kind === "message" && action.file && !action.media) await uploaded({ mxc: "mxc://city/1" } as Media);
    return message(this.browser.ids, { client_id: entry.id });
  }
}
