import { useMutation } from "@tanstack/react-query";
import { city } from "../../../api/city";
import type { NotificationMode, Room } from "../../../api/types";
import { IconButton } from "../../../components/ui/Button";
import { Choices } from "../../../components/ui/Choices";
import { Menu } from "../../../components/ui/Menu";
import { InlineProblem } from "../../../components/ui/Notice";
import { useTranslation } from "../../../lib/i18n";
import { useUnreadRooms } from "../../../stores/unread";

const MODES: readonly NotificationMode[] = ["all", "mentions", "none"];

/** The menu of the room's notification mode; shown if the city counts what is unread. */
export function NotificationMenu({ room }: { room: Room & { notifications?: NotificationMode } }) {
  const { t } = useTranslation();
  const isKnown = useUnreadRooms((state) => state.isKnown);
  const live = useUnreadRooms((state) => state.rooms[room.id]);
  const update = useUnreadRooms((state) => state.update);
  const mode = live?.notifications ?? room.notifications ?? "all";
  const { mutate, error } = useMutation({
    mutationFn: (next: NotificationMode) => city.setNotifications(room.id, next),
    onSuccess: (_, next) => update([{ unread: 0, mentions: 0, read_seq: null, ...live, room_id: room.id, notifications: next }]),
  });
  if (!isKnown) return null;
  const label = t("notifications.label");
  return (
    <Menu label={label} button={(open) => <IconButton icon={mode === "none" ? "mute" : "bell"} label={label} {...open} />}>
      {() => (
        <>
          <Choices
            legend={label}
            choices={MODES.map((value) => ({ value, words: t(`notifications.${value}`) }))}
            chosen={mode}
            onChoose={(next) => mutate(next as NotificationMode)}
          />
          <InlineProblem error={error} />
        </>
      )}
    </Menu>
  );
}
