import { cleanup, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { city } from "../../../api/city";
import type { Author, Message, Receipt } from "../../../api/types";
import { FakeEnvironment } from "../../../testing/fakeSockets";
import { roomEnvironment } from "../../../testing/roomEnvironment";
import { message, OKSANA, room, settled, TARAS } from "../../../testing/samples";
import { useSession } from "../../../stores/session";
import { MessageRow } from "./MessageRow";
import { ReaderFaces } from "./ReaderFaces";
import { readersByMessage } from "./receipts";
import { RoomModel } from "./roomModel";
import { RoomContext } from "./useRoom";
import { followReceipts } from "./useReaders";

const OLENA: Author = {
  kind: "matrix",
  id: "@olena:example.org",
  display_name: "Олена",
  matrix_user_id: "@olena:example.org",
  avatar_url: null,
};

function receipt(reader: Author, seq: number, threadRoot: string | null = null): Receipt {
  return { user_id: reader.id, reader, message_id: `m${seq}`, thread_root: threadRoot, read_at: "2026-11-22T18:07:12.310Z" };
}

describe("the readers of messages", () => {
  const messages = [message(1), message(2), message(3, { author: TARAS })];
  const shown = (...receipts: Receipt[]) =>
    [...readersByMessage(receipts, messages, OKSANA.id)].map(([id, readers]) => [id, readers.map(({ user_id: user }) => user)]);

  it("are at the last message that each has read, without the user", () => {
    expect(shown(receipt(OLENA, 2), receipt(OKSANA, 2))).toEqual([["m2", [OLENA.id]]]);
    expect(shown(receipt(OLENA, 3))).toEqual([["m3", [OLENA.id]]]);
  });

  it("are sorted by time, the latest first", () => {
    const later = { ...receipt(OLENA, 2), read_at: "2026-11-22T19:00:00.000Z" };
    expect(shown(receipt(TARAS, 3), receipt({ ...OLENA, id: "@a:hs" }, 2), later)).toEqual([["m2", [OLENA.id, "@a:hs"]]]);
  });

  it("are hidden at unloaded and at earlier messages", () => {
    expect(shown(receipt(OLENA, 7))).toEqual([]);
    expect(shown(receipt(TARAS, 2))).toEqual([]);
    expect(shown(receipt(TARAS, 3))).toEqual([]);
  });
});

describe("the avatars of readers", () => {
  const readers = (count: number) =>
    Array.from({ length: count }, (_, index) => receipt({ ...OLENA, id: `@r${index}:hs`, display_name: `R${index}` }, 1));

  it.each([
    { count: 1, faces: 1, text: "R" },
    { count: 3, faces: 3, text: "RRR" },
    { count: 4, faces: 2, text: "RR+2" },
    { count: 60, faces: 2, text: "RR+58" },
  ])("are $faces for $count readers", ({ count, faces, text }) => {
    render(<ReaderFaces readers={readers(count)} />);
    const shown = screen.getByRole("img");
    expect(shown.textContent.replaceAll(/R\d/gu, "R")).toBe(text);
    expect(shown.dataset.readers).toBe(String(count));
    expect(faces).toBe(text.split("+")[0]?.length);
  });

  it("are named by their label", () => {
    render(<ReaderFaces readers={readers(2)} />);
    expect(screen.getByRole("img", { name: "room.readBy" }).title).toBe("room.readBy");
  });
});

describe("the delivery mark of an own message", () => {
  const signs = (delivery: Message["delivery"], ...readers: Receipt[]) => {
    useSession.setState({ subject: OKSANA.id });
    const model = new RoomModel("general", roomEnvironment(new FakeEnvironment()));
    const shown = readers.length ? readers : undefined;
    render(
      <RoomContext value={model}>
        <MessageRow
          message={message(1, { author: OKSANA, delivery })}
          readers={shown}
          isFirst
          isActive={false}
          isFlashed={false}
          onJump={vi.fn()}
        />
      </RoomContext>,
    );
    return screen.getAllByRole("img").map((sign) => sign.getAttribute("aria-label"));
  };

  it("is `sent` until the first reader", () => {
    expect(signs("sent")).toEqual(["room.sent"]);
    cleanup();
    expect(signs("sent", receipt(OLENA, 1))).toEqual(["room.readBy"]);
  });

  it("is `pending` before Matrix, also with readers", () => {
    expect(signs("pending", receipt(TARAS, 1))).toEqual(["room.pending"]);
  });
});

describe("the receipts of a room", () => {
  let sockets: FakeEnvironment;
  let model: RoomModel;
  let shown: Record<string, string>;
  let stop: () => void;
  const follow = (threadRoot: string | null = null) =>
    followReceipts(model, threadRoot, (receipts) => {
      shown = Object.fromEntries([...receipts.values()].map((each) => [each.reader.display_name, each.message_id]));
    });

  beforeEach(async () => {
    sockets = new FakeEnvironment();
    shown = {};
    vi.spyOn(city, "room").mockResolvedValue(room(3, [message(1), message(2)]));
    vi.spyOn(city, "receipts").mockResolvedValue([receipt(TARAS, 1)]);
    model = new RoomModel("general", roomEnvironment(sockets));
    stop = follow();
    model.start();
    await settled();
    sockets.last.accept();
  });

  afterEach(() => {
    stop();
    model.stop();
  });

  it("are loaded with the room and updated by events", () => {
    expect(shown).toEqual({ Тарас: "m1" });
    sockets.last.receive({ event: "city.room.read", ...receipt(OLENA, 2) });
    expect(shown).toEqual({ Тарас: "m1", Олена: "m2" });
    sockets.last.receive({ event: "city.room.read", ...receipt(TARAS, 2) });
    expect(shown).toEqual({ Тарас: "m2", Олена: "m2" });
  });

  it("of other timelines are ignored", () => {
    sockets.last.receive({ event: "city.room.read", ...receipt(OLENA, 2, "m1") });
    expect(shown).toEqual({ Тарас: "m1" });
  });

  it("are removed with the membership of the reader", () => {
    const left = { event: "city.room.leave", seq: 4, created_at: "2026-11-22T12:00:00Z", members_online: 1, cause: "left" };
    sockets.last.receive({ ...left, member: TARAS });
    expect(shown).toEqual({});
  });

  it("of events win over a later response", async () => {
    let answer: (receipts: Receipt[]) => void = () => undefined;
    vi.mocked(city.receipts).mockReturnValue(new Promise((resolve) => (answer = resolve)));
    sockets.last.receive({ event: "city.room.resync", seq: 4 });
    await settled();
    sockets.last.receive({ event: "city.room.read", ...receipt(TARAS, 2) });
    answer([receipt(TARAS, 1), receipt(OLENA, 1)]);
    await settled();
    expect(shown).toEqual({ Тарас: "m2", Олена: "m1" });
  });

  it("stay unchanged after a failed request", async () => {
    vi.mocked(city.receipts).mockRejectedValue(new Error("away"));
    sockets.last.receive({ event: "city.room.resync", seq: 4 });
    await settled();
    expect(shown).toEqual({ Тарас: "m1" });
    sockets.last.receive({ event: "city.room.read", ...receipt(OLENA, 2) });
    expect(shown).toEqual({ Тарас: "m1", Олена: "m2" });
  });

  it("are ignored after the subscription ended", () => {
    stop();
    sockets.last.receive({ event: "city.room.read", ...receipt(OLENA, 2) });
    expect(shown).toEqual({ Тарас: "m1" });
  });
});
