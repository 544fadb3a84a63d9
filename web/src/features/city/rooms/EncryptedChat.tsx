import type { DirectChat } from "../../../api/types";
import { ButtonLink } from "../../../components/ui/Button";
import { Icon } from "../../../components/ui/Icon";
import { Name } from "../../../components/ui/Name";
import { useLiveAuthor } from "../../../hooks/useLiveAuthor";
import { usePageTitle } from "../../../hooks/usePageTitle";
import { useTranslation } from "../../../lib/i18n";
import styles from "./CityRoomView.module.css";
import { OnMatrixLink } from "./OnMatrixLink";

/** The page of a chat that is encrypted on Matrix, of which the city shows nothing. */
export default function EncryptedChat({ chat }: { chat: DirectChat }) {
  const { t } = useTranslation();
  const { name } = useLiveAuthor(chat.citizen);
  usePageTitle(name);
  return (
    <section className={styles.waiting} aria-labelledby="room-title" data-full-height>
      <ButtonLink look="bare" className={styles.onlyNarrow ?? ""} to="/city" aria-label={t("rooms.title")}>
        <Icon name="back" />
      </ButtonLink>
      <h1 id="room-title">
        <Name>{name}</Name>
      </h1>
      <p>{t("room.encryptedChat")}</p>
      {chat.matrix_room_id !== null && (
        <p>
          <OnMatrixLink roomId={chat.matrix_room_id} />
        </p>
      )}
    </section>
  );
}
