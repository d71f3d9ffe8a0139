import { useEffect, useRef, useState } from "preact/hooks";
import { t } from "../i18n.ts";
import { notifications, switchNotifications } from "../state/notifications.ts";
import { panel } from "../state/place.ts";
import { LanguageSwitch } from "./brand.tsx";
import { Icon } from "./icon.tsx";

const PANELS = {
  profile: { label: "menu.profile", icon: "person" },
  devices: { label: "menu.devices", icon: "devices" },
  logout: { label: "menu.logout", icon: "logout" },
} as const;

/** Scanner, profile, devices, notifications, logout, language. */
export function Menu() {
  const [open, setOpen] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (!open) return;
    const outside = (event: Event) => {
      if (!box.current?.contains(event.target as Node)) setOpen(false);
    };
    document.addEventListener("pointerdown", outside);
    document.addEventListener("focusin", outside);
    return () => {
      document.removeEventListener("pointerdown", outside);
      document.removeEventListener("focusin", outside);
    };
  }, [open]);
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Escape" || !open) return;
    event.preventDefault();
    setOpen(false);
    button.current?.focus();
  };
  const choose = (name: keyof typeof PANELS) => {
    setOpen(false);
    // The item is about to vanish: the panel gives the focus back to what has it now.
    button.current?.focus();
    panel.value = name;
  };
  return (
    <div class="menu" ref={box} onKeyDown={onKeyDown}>
      <button
        ref={button}
        type="button"
        class="round"
        aria-label={t("menu.open")}
        aria-expanded={open}
        aria-controls="menu-items"
        onClick={() => setOpen(!open)}
      >
        <Icon name="more" />
      </button>
      <div id="menu-items" class="menu-items" hidden={!open}>
        <a class="menu-item" href="/m/scan">
          <Icon name="scan" />
          {t("menu.scan")}
        </a>
        <PanelItem name="profile" onChosen={choose} />
        <PanelItem name="devices" onChosen={choose} />
        {notifications.value !== "missing" && <NotificationSwitch />}
        <PanelItem name="logout" onChosen={choose} />
        <LanguageSwitch />
      </div>
    </div>
  );
}

function PanelItem(
  { name, onChosen }: { name: keyof typeof PANELS; onChosen: (name: keyof typeof PANELS) => void },
) {
  return (
    <button type="button" class="menu-item" onClick={() => onChosen(name)}>
      <Icon name={PANELS[name].icon} />
      {t(PANELS[name].label)}
    </button>
  );
}

function NotificationSwitch() {
  const state = notifications.value;
  return (
    <button
      type="button"
      class="menu-item"
      role="switch"
      aria-checked={state === "on"}
      disabled={state === "blocked"}
      onClick={() => void switchNotifications()}
    >
      <Icon name="bell" />
      <span class="menu-item-text">
        {t("menu.notifications")}
        {state === "blocked" && <span class="menu-item-note">{t("menu.notifications_blocked")}</span>}
      </span>
      <span class="switch" aria-hidden="true" />
    </button>
  );
}
