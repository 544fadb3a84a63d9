"""Delivery errors have the codes of all refusals of `RoomPermissions`."""

from __future__ import annotations

import inspect
import re

from daarion_appservice.city import permissions
from daarion_appservice.city.delivery_errors import DeliveryError


def test_each_refused_permission_is_a_delivery_error() -> None:
    codes = re.findall(r'Forbidden\(\s*"(\w+)"', inspect.getsource(permissions))
    assert {"blocked", "muted", "kicked"} <= set(codes)
    assert set(codes) - set(DeliveryError) == set()
