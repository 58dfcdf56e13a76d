"""The kinds of panels, each with the looks that all dashboards share."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import queries
import thresholds as levels
from grafana_foundation_sdk.builders import bargauge, common, dashboard, heatmap, logs, stat, table, timeseries
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DashboardSpecialValueMapOptions,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    SpecialValueMap,
    SpecialValueMatch,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode, HeatmapColorScale
from thresholds import Steps

Panel = Any  # each kind of panel has a builder of its own, with these methods in common
Query = Any

PALETTE = FieldColorModeId.PALETTE_CLASSIC
BY_THRESHOLD = FieldColorModeId.THRESHOLDS


def link(title: str, url: str) -> dashboard.DashboardLink:
    """A link at a panel's title or on a value."""
    return dashboard.DashboardLink(title).type(DashboardLinkType.LINK).url(url).target_blank(False)


def to_dashboard(title: str, uid: str) -> dashboard.DashboardLink:
    """Another dashboard with the same time and the same variables."""
    return link(title, f"/d/{uid}?${{__url_time_range}}&${{__all_variables}}")


def _steps(steps: Steps) -> dashboard.ThresholdsConfig:
    config = dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE)
    return config.steps([Threshold(value=value, color=color) for value, color in steps])


def _common(panel: Panel, title: str, description: str, targets: Sequence[Query], unit: str) -> Panel:
    panel = panel.title(title).description(description).datasource(queries.METRICS_REF).unit(unit)
    for ref, target in zip("ABCDEFGHIJ", targets):
        panel = panel.with_target(target.ref_id(ref))
    return panel


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False)


def _unknown(text: str) -> SpecialValueMap:
    """Without data a figure would have the colour of its lowest step, which is green."""
    options = DashboardSpecialValueMapOptions(
        match=SpecialValueMatch.NULL_AND_NAN, result=ValueMappingResult(text=text, color="dark-purple", index=9)
    )
    mapping = SpecialValueMap(options=options)
    mapping.type_val = "special"
    return mapping


def states(texts: dict[str, tuple[str, str]]) -> list[ValueMap]:
    """Numbers that stand for words: value to text and colour."""
    if not texts:
        return []
    options = {
        value: ValueMappingResult(text=text, color=color, index=index)
        for index, (value, (text, color)) in enumerate(texts.items())
    }
    mapping = ValueMap(options=options)
    mapping.type_val = "value"
    return [mapping]


UP_OR_DOWN = {"1": ("UP", levels.GREEN), "0": ("DOWN", levels.RED)}


def figure(
    title: str,
    description: str,
    query: Query,
    unit: str,
    steps: Steps,
    *,
    decimals: int | None = None,
    mappings: dict[str, tuple[str, str]] | None = None,
    filled: bool = True,
    no_value: str = "n/a",
    links: Sequence[dashboard.DashboardLink] = (),
) -> Panel:
    """One number, large; its background tells whether it is well.

    The query is to be an instant one: of a range, the last value would stay on
    after its series has ended.
    """
    panel = _common(stat.Panel(), title, description, [query], unit)
    panel = panel.thresholds(_steps(steps)).color_scheme(dashboard.FieldColor().mode(BY_THRESHOLD))
    panel = panel.reduce_options(_last()).no_value(no_value).text_mode(shapes.BigValueTextMode.VALUE)
    panel = panel.color_mode(shapes.BigValueColorMode.BACKGROUND if filled else shapes.BigValueColorMode.VALUE)
    panel = panel.graph_mode(shapes.BigValueGraphMode.NONE)
    panel = panel.justify_mode(shapes.BigValueJustifyMode.CENTER).orientation(shapes.VizOrientation.AUTO)
    if decimals is not None:
        panel = panel.decimals(decimals)
    panel = panel.mappings([*states(mappings or {}), _unknown(no_value)])
    if links:
        panel = panel.links(list(links))
    return panel


def graph(
    title: str,
    description: str,
    targets: Sequence[Query],
    unit: str,
    *,
    steps: Steps | None = None,
    stacked: bool = False,
    bars: bool = False,
    fill: int = 8,
    minimum: float | None = 0,
    maximum: float | None = None,
    soft_maximum: float | None = None,
    decimals: int | None = None,
    step: bool = False,
    table_legend: bool = False,
    colors: dict[str, str] | None = None,
    dashed: str | None = None,
    right: str | None = None,
    right_unit: str | None = None,
    since: str | None = None,
    links: Sequence[dashboard.DashboardLink] = (),
    no_value: str | None = None,
) -> Panel:
    """Figures over time; thresholds, where there are, as dashed lines."""
    panel = _common(timeseries.Panel(), title, description, targets, unit)
    panel = panel.draw_style(shapes.GraphDrawStyle.BARS if bars else shapes.GraphDrawStyle.LINE)
    panel = panel.line_width(1).fill_opacity(60 if bars else 25 if stacked else fill)
    panel = panel.show_points(shapes.VisibilityMode.NEVER).span_nulls(False)
    panel = panel.color_scheme(dashboard.FieldColor().mode(PALETTE))
    panel = panel.tooltip(
        common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI).sort(shapes.SortOrder.DESCENDING)
    )
    legend = common.VizLegendOptions().show_legend(True)
    if table_legend:
        legend = legend.display_mode(shapes.LegendDisplayMode.TABLE).placement(shapes.LegendPlacement.RIGHT)
        legend = legend.calcs(["lastNotNull", "max"]).sort_by("Last *").sort_desc(True)
    else:
        legend = legend.display_mode(shapes.LegendDisplayMode.LIST).placement(shapes.LegendPlacement.BOTTOM).calcs([])
    panel = panel.legend(legend)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL).group("A"))
    if minimum is not None:
        panel = panel.min(minimum)
    if maximum is not None:
        panel = panel.max(maximum)
    if soft_maximum is not None:
        panel = panel.axis_soft_max(soft_maximum)
    if decimals is not None:
        panel = panel.decimals(decimals)
    if step:
        panel = panel.line_interpolation(shapes.LineInterpolation.STEP_AFTER)
    if steps:
        style = common.GraphThresholdsStyleConfig().mode(shapes.GraphTresholdsStyleMode.DASHED)
        panel = panel.thresholds(_steps(steps)).thresholds_style(style)
    for name, color in (colors or {}).items():
        value = {"mode": "fixed", "fixedColor": color}
        panel = panel.override_by_regexp(name, [DynamicConfigValue(id_val="color", value=value)])
    if dashed:
        style_value = {"fill": "dash", "dash": [8, 8]}
        panel = panel.override_by_regexp(
            dashed,
            [
                DynamicConfigValue(id_val="custom.lineStyle", value=style_value),
                DynamicConfigValue(id_val="custom.fillOpacity", value=0),
            ],
        )
    if right:
        properties = [
            DynamicConfigValue(id_val="custom.axisPlacement", value="right"),
            DynamicConfigValue(id_val="unit", value=right_unit),
        ]
        if maximum is not None:
            properties.append(DynamicConfigValue(id_val="max", value=None))
        panel = panel.override_by_regexp(right, properties)
    if since:
        panel = panel.time_from(since)
    if links:
        panel = panel.links(list(links))
    if no_value:
        panel = panel.no_value(no_value)
    return panel


def bars(
    title: str,
    description: str,
    targets: Sequence[Query],
    unit: str,
    steps: Steps,
    *,
    maximum: float | None = None,
    decimals: int | None = None,
) -> Panel:
    """How full things are."""
    panel = _common(bargauge.Panel(), title, description, targets, unit).min(0)
    panel = panel.thresholds(_steps(steps)).color_scheme(dashboard.FieldColor().mode(BY_THRESHOLD))
    panel = panel.orientation(shapes.VizOrientation.HORIZONTAL).display_mode(shapes.BarGaugeDisplayMode.BASIC)
    panel = panel.value_mode(shapes.BarGaugeValueMode.COLOR).show_unfilled(True).reduce_options(_last())
    panel = panel.min_viz_height(14).min_viz_width(8)
    panel = panel.text(common.VizTextDisplayOptions().title_size(12).value_size(16))
    if maximum is not None:
        panel = panel.max(maximum)
    if decimals is not None:
        panel = panel.decimals(decimals)
    return panel


@dataclass
class Column:
    """A column of a table: the field it shows and how."""

    field: str
    title: str
    unit: str | None = None
    steps: Steps | None = None
    decimals: int | None = None
    width: int | None = None
    mappings: dict[str, tuple[str, str]] | None = None
    links: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    gauge: bool = False

    def properties(self) -> list[DynamicConfigValue]:
        """What Grafana calls an override."""
        # An empty cell is empty, whatever the table says where it has no row.
        found: dict[str, object] = {"noValue": "–"}
        if self.unit:
            found["unit"] = self.unit
        if self.decimals is not None:
            found["decimals"] = self.decimals
        if self.width is not None:
            found["custom.width"] = self.width
        if self.steps:
            found["thresholds"] = _steps(self.steps).build()
            found["color"] = {"mode": "thresholds"}
        if self.mappings:
            found["mappings"] = states(self.mappings)
            found["custom.align"] = "center"
        if self.gauge:
            found["custom.cellOptions"] = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
            found["min"] = 0
        elif self.steps or self.mappings:
            found["custom.cellOptions"] = {"type": "color-background", "mode": "basic"}
        if self.links:
            found["links"] = [{"title": title, "url": url, "targetBlank": False} for title, url in self.links]
        return [DynamicConfigValue(id_val=key, value=value) for key, value in found.items()]


def listing(
    title: str,
    description: str,
    targets: Sequence[Query],
    columns: Sequence[Column],
    *,
    hide: Sequence[str] = (),
    sort: tuple[str, bool] | None = None,
    no_value: str | None = None,
    links: Sequence[dashboard.DashboardLink] = (),
) -> Panel:
    """Rows: several queries are joined by the labels that they share."""
    panel = _common(table.Panel(), title, description, targets, "short")
    if len(targets) > 1:
        panel = panel.with_transformation(DataTransformerConfig(id_val="merge", options={}))
    titles = {column.field: column.title for column in columns}
    indices = {column.field: index for index, column in enumerate(columns)}
    # The value of a query is called so where it is the only one with an answer.
    if "Value #A" in titles:
        titles["Value"], indices["Value"] = titles["Value #A"], indices["Value #A"]
    organize = {
        "excludeByName": {name: True for name in ["Time", *hide]},
        "indexByName": indices,
        "renameByName": titles,
    }
    panel = panel.with_transformation(DataTransformerConfig(id_val="organize", options=organize))
    panel = panel.cell_height(shapes.TableCellHeight.SM).show_header(True)
    panel = panel.align(shapes.FieldTextAlignment.AUTO).cell_options(shapes.TableAutoCellOptions()).inspect(False)
    panel = panel.thresholds(_steps(levels.plain())).color_scheme(dashboard.FieldColor().mode(BY_THRESHOLD))
    for column in columns:
        panel = panel.override_by_name(column.title, column.properties())
    if sort:
        by, descending = sort
        panel = panel.sort_by([common.TableSortByFieldState().display_name(by).desc(descending)])
    if no_value:
        panel = panel.no_value(no_value)
    if links:
        panel = panel.links(list(links))
    return panel


def heat(title: str, description: str, query: Query, unit: str) -> Panel:
    """A histogram over time: the darker, the more."""
    panel = _common(heatmap.Panel(), title, description, [query], unit)
    panel = panel.calculate(False).cell_gap(1).show_tooltip().show_y_histogram().hide_legend()
    panel = panel.y_axis(heatmap.YAxisConfig().unit(unit).axis_placement(shapes.AxisPlacement.LEFT))
    panel = panel.rows_frame(heatmap.RowsHeatmapOptions().layout(shapes.HeatmapCellLayout.LE).value("Requests"))
    panel = panel.cell_values(heatmap.CellValues().unit("reqps"))
    # What has no request has no cell.
    panel = panel.filter_values(heatmap.FilterValueRange().le(1e-9))
    color = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    return panel.color(color.scale(HeatmapColorScale.EXPONENTIAL).exponent(0.5).fill("dark-orange").reverse(False))


def log_lines(title: str, description: str, query: Query) -> Panel:
    """Log lines of the dashboard's time range, newest first."""
    panel = logs.Panel().title(title).description(description).datasource(queries.LOGS_REF).unit("none")
    panel = panel.with_target(query.ref_id("A")).show_time(True).wrap_log_message(True)
    panel = panel.enable_log_details(True).sort_order(shapes.LogsSortOrder.DESCENDING)
    panel = panel.show_labels(False).show_common_labels(False).prettify_log_message(False)
    return panel.dedup_strategy(shapes.LogsDedupStrategy.NONE)
