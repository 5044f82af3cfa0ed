"""The report as one HTML page, from its figures and plots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from etbac.contract import FULL_MODEL_ID, Plan
from etbac.planner.evidence import Pairs
from etbac.planner.race import CHAIN, FULL
from etbac.planner.words import amount
from etbac.profiles.profile import Profile
from etbac.profiles.race import FEWEST_FOR_P99
from etbac.report.certificate import about as about_certificate
from etbac.report.certificate import ratio
from etbac.report.collect import NAMES, Figures, Tested
from etbac.report.html import Html, bar, document, element, ms, section, table
from etbac.report.pictures import samples
from etbac.report.plots import MOST_CLASSES, inline
from etbac.report.style import CSS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NO_PLAN = "There is no plan, so every sample takes the whole chain: run etbac plan --precision 0.9968."


def page(figures: Figures, plots: Mapping[str, Figure]) -> str:
    """A document that needs no network and no script."""
    title = f"{figures.path.resolve().name}: early-exit report"
    return document(title, CSS, *_sections(figures, plots))


def _sections(figures: Figures, plots: Mapping[str, Figure]) -> Iterator[Html]:
    def plot(name: str, title: str, caption: str = "") -> Html | str:
        if name not in plots:
            return ""
        words = [element("figcaption", caption)] if caption else []
        return element("figure", element("div", Html(inline(plots[name], name, title)), class_="wide"), *words)

    plan, profile, tested = figures.plan, figures.profile, figures.tested
    yield _headline(figures)
    yield section("latency", "Latency, measured now", *_latency(figures), plot("latency", "Latency of batches"))
    yield section("prediction", "Predicted against measured", *_prediction(figures))
    caption = "Milliseconds of a batch; the stronger the colour, the more a sample costs there."
    words = _warning(profile.warning) if isinstance(profile, Profile) else profile
    yield section("matrix", "Inference time matrix", plot("matrix", "Inference time matrix", caption), words)
    if "front" in plots:
        words = (
            "The line: what the search set offers, each plan with its exits alone. The marks: plans that were tested, "
            "in a sequence fixed before, with their precision on the certify set."
        )
        yield section("front", "Pareto front", words, plot("front", "Latency and precision of the plans tested"))
    yield section("cut", "Best static cut", NO_PLAN if plan is None else _static_cut(plan, figures.batch))
    if isinstance(tested, Tested):
        harm = plot("harm", "Share of right answers lost, by class")
        yield section("exits", "Exits", *_exits(figures, tested))
        yield section("harm", "Harm by class", _harm(tested) if harm else "The samples have no classes.", harm)
        yield section("samples", "Samples by exit", _frames(tested), samples(figures, tested))
    else:
        yield section("exits", "Exits", tested, "" if plan is None else _planned_exits(plan))
        yield section("harm", "Harm by class", tested)
        yield section("samples", "Samples by exit", tested)
    yield section("certificate", "Certificate and premises", *about_certificate(figures))
    yield section("machine", "Machine and versions", _machine(figures))


def _headline(figures: Figures) -> Html:
    source = Path(figures.manifest.source.get("path", "a module in memory")).name
    exits = ", ".join(map(str, figures.manifest.exits)) or "none"
    return element(
        "header",
        element("h1", f"Early-exit report: {figures.path.resolve().name}"),
        element("p", f"{source}; exits {exits}; engines {figures.engines}; {figures.made}", class_="quiet"),
        _warning(figures.note),
        element("div", *_latency_cards(figures), _precision_card(figures), class_="cards"),
    )


def _card(title: str, figure: str, sentence: str) -> Html:
    return element("div", element("h3", title), element("b", figure), element("p", sentence), class_="card")


def _latency_cards(figures: Figures) -> Iterator[Html]:
    timings, (quantile, name) = figures.timings, _tail(figures)
    chain, full = (1e3 * timings.mean(each) for each in (CHAIN, FULL))
    words = f"A batch of {figures.batch} takes the chain {ms(chain)} ms and the full model {ms(full)} ms."
    yield _card("Mean latency", _change(chain / full), words)
    chain, full = (1e3 * timings.quantile(each, quantile) for each in (CHAIN, FULL))
    words = f"{quantile:.0%} of batches are answered in {ms(chain)} ms by the chain, {ms(full)} ms by the full model."
    if quantile == 0.99:
        words += f" The ratio is at most {timings.p99_ratio_bound(CHAIN, FULL):.2f} at 95% confidence."
    yield _card(f"Tail latency ({name})", _change(chain / full), words)


def _tail(figures: Figures) -> tuple[float, str]:
    """The furthest quantile that so many batches allow."""
    return (0.99, "p99") if len(figures.timings.seconds[CHAIN]) >= FEWEST_FOR_P99 else (0.9, "p90")


def _precision_card(figures: Figures) -> Html:
    plan, standing, tested = figures.plan, figures.standing, figures.tested
    measured = ""
    if isinstance(tested, Tested) and tested.statistics.n_right:
        measured = f" {tested.metric} on {tested.where}: {ratio(tested.statistics.at(tested.leaves).ratio)}."
    if standing.certified and plan is not None and plan.certificate is not None:
        confidence = f"{100 * (1 - plan.certificate['level']):.4g}%"
        said = f"The chain's {plan.certificate['metric']} ÷ the full model's, certified at {confidence} confidence."
        return _card("Precision", f"≥ {plan.precision:g}", said + measured)
    return _card("Precision", "uncertified", _sentence(standing.reason) + measured)


def _change(share: float) -> str:
    return f"−{1 - share:.0%}" if share <= 1 else f"+{share - 1:.0%}"


def _warning(words: str | None) -> Html | str:
    return element("p", _sentence(words), class_="warn") if words else ""


def _sentence(words: str | None) -> str:
    return f"{words[:1].upper()}{words[1:].rstrip('.')}." if words else ""


def _latency(figures: Figures) -> Iterator[str | Html]:
    timings, (quantile, name) = figures.timings, _tail(figures)
    count = len(timings.seconds[CHAIN])
    more = "" if count >= FEWEST_FOR_P99 else f" p99 is claimed from {FEWEST_FOR_P99:,} on: --batches {FEWEST_FOR_P99}."
    yield (
        f"{count:,} batches of {figures.batch}, composed at random of {figures.timed_on}; chain and full model took "
        f"turns on the same batches.{more}"
    )
    rows = []
    for each in (CHAIN, FULL):
        taken = (timings.mean(each), timings.quantile(each, 0.5), timings.quantile(each, quantile))
        rows.append((NAMES[each], *(ms(1e3 * seconds) for seconds in taken)))
    yield table(("", "mean ms", "median ms", f"{name} ms"), rows)


def _prediction(figures: Figures) -> Iterator[str | Html]:
    plan, profile = figures.plan, figures.profile
    predicted = None if plan is None else plan.predicted.get(figures.batch)
    if predicted is None:
        yield NO_PLAN if plan is None else f"The plan predicts nothing for batches of {figures.batch}."
    else:
        yield f"For a batch of {figures.batch}: what the plan predicted from the matrix that it had, and the mean now."
        now = {each: 1e3 * figures.timings.mean(each) for each in (CHAIN, FULL)}
        then = {CHAIN: predicted["chain_ms"], FULL: predicted["full_ms"]}
        rows = [(NAMES[each], ms(then[each]), ms(now[each]), f"{now[each] / then[each]:.2f}") for each in now]
        yield table(("", "predicted ms", "measured ms", "ratio"), rows)
        rebuilt = predicted.get("rebuilt_ms")
        if rebuilt is not None and plan is not None and len(plan.thresholds) < len(figures.manifest.exits):
            yield f"With the plan's exits alone, {ms(rebuilt)} ms are predicted: etbac compile --plan."
    if isinstance(profile, Profile) and profile.chain:
        yield "When the matrix was measured: the chain, and the sum of its engines' medians at the sizes that they ran."
        rows = [
            (
                f"{each.point}, {each.exits}".removeprefix("batch "),
                ms(each.matrix_ms),
                ms(each.timing.median_ms),
                f"{each.ratio:.2f}",
            )
            for each in profile.chain
        ]
        yield table(("batch, exits taken", "sum of medians, ms", "chain's median, ms", "chain ÷ sum"), rows)


def _static_cut(plan: Plan, batch: int) -> str:
    cut, chain = plan.search.get("static_cut"), plan.predicted.get(batch)
    if cut is None:
        return "Where every sample leaves at one exit, none passes the test that certifies plans on the search set."
    cost = cut["predicted"].get(str(batch))
    words = (
        f"Where every sample leaves at one exit, exit {cut['exit_id']} is the earliest that passes the test that "
        f"certifies plans on the search set (precision {ratio(cut['precision'])} there); it is not certified."
    )
    if cost is None or chain is None:
        return words
    return f"{words} It is predicted to take {ms(cost)} ms, and the chain {ms(chain['chain_ms'])} ms."


def _exits(figures: Figures, tested: Tested) -> Iterator[str | Html]:
    statistics = tested.statistics
    yield f"On {tested.where}. {tested.premise} “Alone”: every sample leaves there."
    rows = []
    for place, exit_id in enumerate((*statistics.exits, FULL_MODEL_ID)):
        leave, alone = tested.leaves == place, statistics.at(place)
        threshold = figures.thresholds.get(exit_id)
        rows.append(
            (
                _name(exit_id),
                "–" if threshold is None else f"{threshold:.4f}",
                bar(float(leave.mean())),
                f"{alone.take(leave).chain_metric:.4f}" if leave.any() else "–",
                f"{alone.chain_metric:.4f}",
            )
        )
    yield table(("", "threshold", "samples leave", f"{tested.metric} of these", f"{tested.metric} alone"), rows)
    pairs = statistics.at(tested.leaves)
    together = f"All together, the chain: {pairs.chain_metric:.4f}; the full model: {pairs.full_metric:.4f}."
    yield f"{together} {_losses(pairs)}"


def _losses(pairs: Pairs) -> str:
    lost, more = amount(pairs.harms), amount(pairs.repairs)
    if isinstance(pairs.n_right, int):
        return (
            f"Of {pairs.n_right:,} right answers of the full model the chain loses {lost}, and it repairs {more} wrong "
            "ones."
        )
    return f"Of the full model's scores, {amount(pairs.n_right)} together, the chain loses {lost}, and it adds {more}."


def _planned_exits(plan: Plan) -> Html:
    """What the search set said, where there are no data now."""
    shares = plan.search.get("shares", {})
    return table(("search set", "samples leave"), [(_name(int(each)), bar(share)) for each, share in shares.items()])


def _name(exit_id: int) -> str:
    return "the end" if exit_id == FULL_MODEL_ID else f"exit {exit_id}"


def _harm(tested: Tested) -> str:
    return (
        "Of the answers that the full model gets right, the share that the chain loses, with its 95% Clopper-Pearson "
        f"interval, on {tested.where}; at most {MOST_CLASSES} classes, those that lose most first. The certificate is "
        "of all classes together."
    )


def _frames(tested: Tested) -> str:
    words = "which is not the full model's" if tested.metric == "agreement" else "which is wrong"
    if not tested.statistics.is_right_or_wrong:
        words = "with a lower score than the full model's"
    return f"Of {tested.where}: the surest and the least sure of each exit. A frame marks an answer {words}."


def _machine(figures: Figures) -> Html:
    source = figures.manifest.source.get("path", "a module in memory")
    facts = {**figures.machine, "engines": figures.engines, "directory": figures.path, "compiled from": source}
    if isinstance(figures.profile, Profile):
        facts["profile"] = f"{figures.profile.seconds:.0f} s; typical spread of a timing {figures.profile.noise:.1%}"
    return element("ul", *(element("li", f"{name}: {value}") for name, value in facts.items()))
