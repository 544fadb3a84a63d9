import { useTranslation } from "../../../lib/i18n";
import type { Location } from "../../../api/types";
import { Icon } from "../../../components/ui/Icon";
import styles from "./LocationView.module.css";

const ZOOM = 16;

/** A location as a link to a map elsewhere: nothing of the map is loaded here. */
export function LocationView({ location }: { location: Location }) {
  const { t } = useTranslation();
  const at = `${location.latitude.toFixed(5)}, ${location.longitude.toFixed(5)}`;
  return (
    <a className={styles.place} href={mapUrl(location)} target="_blank" rel="noopener noreferrer nofollow">
      <Icon name="pin" size={28} />
      <span>
        <bdi>{location.description ?? t("room.place")}</bdi>
        <small>
          {at}
          {location.accuracy_m !== null && ` ± ${Math.round(location.accuracy_m)} m`}
        </small>
        <small>{t("room.openMap")}</small>
      </span>
    </a>
  );
}

export function mapUrl({ latitude, longitude }: Location): string {
  const [lat, lon] = [latitude.toFixed(6), longitude.toFixed(6)];
  return `https://www.openstreetmap.org/?mlat=${lat}&mlon=${lon}#map=${ZOOM}/${lat}/${lon}`;
}
