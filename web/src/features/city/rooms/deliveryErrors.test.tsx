import { render, screen } from "@testing-library/react";
import { beforeAll, describe, expect, it } from "vitest";
import { Problem } from "../../../api/problem";
import type { Message } from "../../../api/types";
import { initI18n, setLanguage } from "../../../lib/i18n";
import { useSession } from "../../../stores/session";
import { visitorEnvironment } from "../../../testing/roomEnvironment";
import { message, OKSANA } from "../../../testing/samples";
import { MessageRow } from "./MessageRow";
import { OutgoingStatus } from "./OutgoingRow";
import { RoomModel } from "./roomModel";
import { RoomContext } from "./useRoom";

beforeAll(async () => {
  await initI18n();
  await setLanguage("en");
  useSession.setState({
    subject: OKSANA.id,
    session: { userId: OKSANA.id, token: "t1", displayName: OKSANA.display_name, expiresAt: Infinity },
  });
});

const buttons = () => screen.queryAllByRole("button").map(({ textContent }) => textContent);

function showRefused(code: string): void {
  const problem = new Problem(403, code, "…");
  render(<OutgoingStatus outgoing={{ clientId: "c1", state: "failed", problem }} text="words" onEdit={() => undefined} />);
}

function showFailed(cause: Message["delivery_error"]): void {
  const model = new RoomModel("general", visitorEnvironment());
  const failed = message(1, { delivery: "failed", delivery_error: cause });
  render(
    <RoomContext value={model}>
      <MessageRow message={failed} isFirst={false} isActive={false} isFlashed={false} onJump={() => undefined} />
    </RoomContext>,
  );
}

describe("a message refused by the city", () => {
  it.each(["banned", "kicked", "invite_only", "chat_over", "members_only", "room_encrypted", "no_such_room"])(
    "can be copied and discarded if its author may not write: %s",
    (code) => {
      showRefused(code);
      expect(buttons()).toEqual(["Copy", "Discard"]);
    },
  );

  it.each(["message_too_long", "media_too_large", "media_type_not_allowed", "message_deleted"])(
    "can be changed if the message is the cause: %s",
    (code) => {
      showRefused(code);
      expect(buttons()).toEqual(["Copy", "Edit", "Discard"]);
    },
  );

  it.each(["muted", "room_archived", "unknown_code"])("can be sent again after a temporary error: %s", (code) => {
    showRefused(code);
    expect(buttons()).toEqual(["Try again", "Edit", "Discard"]);
  });
});

describe("a message refused by Matrix", () => {
  it.each(["banned", "kicked", "invite_only", "chat_over", "deleted", "too_large", "not_private"] as const)(
    "can be copied and discarded: %s",
    (cause) => {
      showFailed(cause);
      expect(buttons()).toEqual(["Copy", "Discard"]);
    },
  );

  it.each(["muted", "blocked", "not_allowed", "refused", "account_taken", null] as const)(
    "can be retried if the cause may pass: %s",
    (cause) => {
      showFailed(cause);
      expect(buttons()).toEqual(["Try again"]);
    },
  );
});
