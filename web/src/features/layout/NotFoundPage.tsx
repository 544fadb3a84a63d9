import { useTranslation } from "../../lib/i18n";
import { ButtonLink } from "../../components/ui/Button";
import { Notice } from "../../components/ui/Notice";
import { usePageTitle } from "../../hooks/usePageTitle";

export function NotFoundPage() {
  const { t } = useTranslation();
  usePageTitle(t("notFound.title"));
  return (
    <Notice icon="home">
      <h1>{t("notFound.title")}</h1>
      <p>{t("notFound.text")}</p>
      <ButtonLink to="/" look="main">
        {t("notFound.home")}
      </ButtonLink>
    </Notice>
  );
}
