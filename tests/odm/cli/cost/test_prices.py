"""The bills of AWS's own pricing examples, and the file of prices itself.

Source of the examples: https://aws.amazon.com/lambda/pricing/, US East (N. Virginia).
"""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from odm.cli.cost.prices import ARCHITECTURES, InvalidPrices, Prices, Usage, load_prices

REGION = "us-east-1"


@pytest.fixture(scope="module")
def prices() -> Prices:
    return load_prices()


def test_aws_example_mobile_application_backend(prices: Prices) -> None:
    # 3,000,000 requests of 120 ms with 1,536 MB: 360,000 s, times 1.5 GB, 540,000 GB-s.
    # Less 400,000 free: 140,000 x $0.0000166667 = $2.33. Requests: 2M x $0.20/M = $0.40.
    usage = Usage(requests=3e6, gb_seconds=3e6 * 0.120 * 1536 / 1024)
    bill = prices.bill(usage, REGION, "x86_64", free_tier=True)
    assert [line.quantity for line in bill.lines] == [3e6, 540_000]
    assert [line.billed for line in bill.lines] == [2e6, 140_000]
    assert bill.of("duration") == pytest.approx(2.33, abs=0.005)
    assert bill.of("request") == pytest.approx(0.40)
    assert bill.usd == pytest.approx(2.73, abs=0.005)


def test_aws_example_telemetry_without_the_free_tier(prices: Prices) -> None:
    # 10,000 vehicles x 24 x 31 = 7,440,000 requests of 2 s with 1 GB: 14,880,000 GB-s.
    # 7.44M x $0.20/M = $1.49; 14.88M x $0.0000166667 = $248.00; together $249.49.
    usage = Usage(requests=10_000 * 24 * 31, gb_seconds=7.44e6 * 2)
    bill = prices.bill(usage, REGION, "x86_64", free_tier=False)
    assert bill.usd == pytest.approx(249.49, abs=0.005)


def test_aws_example_provisioned_concurrency_for_eight_hours(prices: Prices) -> None:
    # 100 x 1.5 GB x 28,800 s = 4,320,000 GB-s x $0.0000041667 = $18.00.
    # On it 500,000 x 0.1 s x 1.5 GB = 75,000 GB-s x $0.0000097222 = $0.73.
    # Beside it 2.5M x 0.12 s x 1.5 GB = 450,000 GB-s, less 400,000: x $0.0000166667 = $0.83.
    # Requests 2M x $0.20/M = $0.40. Together $19.96.
    usage = Usage(
        requests=3e6,
        gb_seconds=450_000,
        provisioned_gb_seconds=4_320_000,
        provisioned_duration_gb_seconds=75_000,
    )
    bill = prices.bill(usage, REGION, "x86_64", free_tier=True)
    assert bill.of("provisioned") == pytest.approx(18.00, abs=0.005)
    assert bill.of("provisioned_duration") == pytest.approx(0.73, abs=0.005)
    assert bill.usd == pytest.approx(19.96, abs=0.005)


def test_aws_example_provisioned_concurrency_for_a_day(prices: Prices) -> None:
    # 7 x 4 GB x 86,400 s = 2,419,200 GB-s: $10.08. 2M x 0.28 s x 4 GB = 2,240,000 GB-s: $21.78.
    # Requests $0.40. Together $32.26.
    usage = Usage(
        requests=2e6,
        gb_seconds=0,
        provisioned_gb_seconds=7 * 4 * 86_400,
        provisioned_duration_gb_seconds=2e6 * 0.28 * 4,
    )
    bill = prices.bill(usage, REGION, "x86_64", free_tier=False)
    assert bill.usd == pytest.approx(32.26, abs=0.005)


def test_aws_example_snap_start(prices: Prices) -> None:
    # 1 GB x 2,678,400 s x $0.0000015046 = $4.03; 1 % of 7.44M x 1 GB x $0.0001397998 = $10.40;
    # with the $249.49 of the telemetry: $263.92.
    usage = Usage(
        requests=7.44e6,
        gb_seconds=14.88e6,
        snapshot_gb_seconds=24 * 31 * 3600,
        restored_gb=74_400,
    )
    bill = prices.bill(usage, REGION, "x86_64", free_tier=False)
    assert bill.of("snapshot_cached") == pytest.approx(4.03, abs=0.005)
    assert bill.of("snapshot_restored") == pytest.approx(10.40, abs=0.005)
    assert bill.usd == pytest.approx(263.92, abs=0.005)


def test_duration_gets_cheaper_by_tiers(prices: Prices) -> None:
    # 6e9 at the full price, 9e9 at 90 %, 5e9 at 80 %.
    usage = Usage(requests=0, gb_seconds=20e9)
    bill = prices.bill(usage, REGION, "x86_64", free_tier=False)
    assert bill.usd == pytest.approx(0.0000166667 * (6e9 + 0.9 * 9e9 + 0.8 * 5e9))
    below = prices.bill(Usage(requests=0, gb_seconds=6e9), REGION, "x86_64", free_tier=False)
    assert below.usd == pytest.approx(0.0000166667 * 6e9)


def test_the_tiers_agree_with_aws_prices_of_the_tiers(prices: Prices) -> None:
    # The Price List has $0.0000150000 and $0.0000133334, $0.0000120001 and $0.0000106667.
    for architecture, expected in (
        ("x86_64", (1.5e-5, 1.33334e-5)),
        ("arm64", (1.20001e-5, 1.06667e-5)),
    ):
        price = prices.get("duration", REGION, architecture)
        assert price is not None
        factors = [factor for _, factor in prices.tiers[architecture]]
        assert [price.usd * each for each in factors] == pytest.approx(expected, rel=1e-4)


def test_what_has_no_price_is_told_and_not_counted(prices: Prices) -> None:
    usage = Usage(requests=1e6, gb_seconds=0, restored_gb=1000)
    bill = prices.bill(usage, "eu-central-1", "x86_64", free_tier=False)
    assert bill.unpriced == ("snapshot_restored",)
    assert bill.usd == pytest.approx(0.20)


def test_every_price_has_a_date_a_source_and_a_unit(prices: Prices) -> None:
    assert len(prices.rows) > 100
    for price in prices.rows.values():
        assert price.source.url.startswith("https://")
        assert date.fromisoformat(price.source.as_of) <= date(2027, 1, 1)
        assert price.unit
        assert 0 < price.usd < 1
    for region in prices.regions:
        for architecture in ARCHITECTURES:
            duration = prices.get("duration", region, architecture)
            assert duration is not None
            assert 1e-5 < duration.usd < 3e-5


def test_arm64_is_a_fifth_cheaper_everywhere(prices: Prices) -> None:
    for region in prices.regions:
        x86, arm = (prices.get("duration", region, each) for each in ARCHITECTURES)
        assert x86 is not None
        assert arm is not None
        assert arm.usd / x86.usd == pytest.approx(0.8, abs=0.002), region


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"prices": [{"region": "x", "item": "gold", "usd": "1", "unit": "", "source": "s"}]},
            "gold",
        ),
        ({"prices": [{"region": "x", "item": "request", "usd": "1", "unit": ""}]}, "'source'"),
        ({"tiers": {}}, "'x86_64'"),
        ({"sources": []}, "not a file of prices"),
    ],
)
def test_a_wrong_file_of_prices_is_refused(
    tmp_path: Path, change: dict[str, object], says: str
) -> None:
    path = tmp_path / "prices.json"
    given = {
        "sources": {"s": {"url": "https://example.org", "as_of": "2026-01-01"}},
        "tiers": {"source": "s", "x86_64": [], "arm64": []},
        "free_tier": {"source": "s", "requests": 0, "gb_seconds": 0},
        "prices": [],
    }
    path.write_text(json.dumps(given))
    assert load_prices(path).regions == []
    path.write_text(json.dumps(given | change))
    with pytest.raises(InvalidPrices) as refused:
        load_prices(path)
    assert says in str(refused.value)


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text("{")
    with pytest.raises(InvalidPrices):
        load_prices(path)
    with pytest.raises(InvalidPrices):
        load_prices(tmp_path / "missing.json")
