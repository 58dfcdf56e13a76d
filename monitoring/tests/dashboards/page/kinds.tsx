// Each kind of panel, drawn by the components that Grafana's own panels use. The
// heat map's is not in @grafana/ui: it is drawn here.

import React, { useLayoutEffect, useRef } from 'react';
import {
  DataFrame,
  DisplayValueAlignmentFactors,
  FieldDisplay,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
  getValueFormat,
  formattedValueToString,
  GrafanaTheme2,
  TimeRange,
  VizOrientation,
} from '@grafana/data';
import { BarGauge, BigValue, Table, TimeSeries, UPlotConfigBuilder, VizRepeater } from '@grafana/ui';
import type { Answer } from './frames';

export interface Mark {
  time: number;
  color: string;
}
export interface Exemplar {
  time: number;
  value: number;
}
export interface KindProps {
  panel: any;
  frames: DataFrame[];
  answers: Answer[];
  exemplars: Exemplar[];
  marks: Mark[];
  timeRange: TimeRange;
  theme: GrafanaTheme2;
  width: number;
  height: number;
}

const empty = (panel: any) => <div className="empty">{panel.fieldConfig?.defaults?.noValue ?? 'No data'}</div>;

// Annotations and exemplars, which Grafana's core draws.
const decorated = new WeakSet<UPlotConfigBuilder>();
function decorate(config: UPlotConfigBuilder, marks: Mark[], exemplars: Exemplar[]) {
  if (decorated.has(config)) {
    return null;
  }
  decorated.add(config);
  config.addHook('draw', (u) => {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.lineWidth = 1;
    for (const { time, color } of marks) {
      const x = u.valToPos(time, 'x', true);
      ctx.strokeStyle = color;
      ctx.setLineDash([4, 3]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.setLineDash([]);
    const scale = Object.keys(u.scales).find((key) => key !== 'x' && u.scales[key].max != null);
    for (const { time, value } of scale ? exemplars : []) {
      const x = u.valToPos(time, 'x', true);
      const y = Math.max(bbox.top, u.valToPos(value, scale!, true));
      ctx.fillStyle = '#5794F2';
      ctx.beginPath();
      ctx.moveTo(x, y - 4);
      ctx.lineTo(x + 4, y);
      ctx.lineTo(x, y + 4);
      ctx.lineTo(x - 4, y);
      ctx.fill();
    }
    ctx.restore();
  });
  return null;
}

function Graph({ panel, frames, marks, exemplars, timeRange, width, height }: KindProps) {
  if (frames.length === 0) {
    return empty(panel);
  }
  return (
    <TimeSeries
      frames={frames}
      structureRev={1}
      timeRange={timeRange}
      timeZone="utc"
      width={width}
      height={height}
      legend={panel.options.legend}
      options={panel.options}
    >
      {(config) => decorate(config, marks, exemplars)}
    </TimeSeries>
  );
}

function displays({ panel, frames, theme }: KindProps, sparkline: boolean): FieldDisplay[] {
  return getFieldDisplayValues({
    fieldConfig: panel.fieldConfig,
    reduceOptions: panel.options.reduceOptions,
    replaceVariables: (text: string) => text,
    theme,
    data: frames,
    sparkline,
    timeZone: 'utc',
  });
}

function Stat(props: KindProps) {
  const { panel, theme, width, height } = props;
  const options = panel.options;
  const sparkline = options.graphMode !== 'none';
  return (
    <VizRepeater<FieldDisplay, DisplayValueAlignmentFactors>
      getValues={() => displays(props, sparkline)}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      source={props.frames}
      width={width}
      height={height}
      renderCounter={0}
      autoGrid={true}
      orientation={VizOrientation.Auto}
      renderValue={({ value, width, height, alignmentFactors, count }) => (
        <BigValue
          value={value.display}
          count={count}
          sparkline={value.sparkline}
          colorMode={options.colorMode}
          graphMode={options.graphMode}
          justifyMode={options.justifyMode}
          textMode={options.textMode}
          alignmentFactors={alignmentFactors}
          text={options.text}
          width={width}
          height={height}
          theme={theme}
        />
      )}
    />
  );
}

function Bars(props: KindProps) {
  const { panel, theme, width, height } = props;
  const options = panel.options;
  return (
    <VizRepeater<FieldDisplay, DisplayValueAlignmentFactors>
      getValues={() => displays(props, false)}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      source={props.frames}
      width={width}
      height={height}
      renderCounter={0}
      minVizHeight={options.minVizHeight}
      itemSpacing={8}
      orientation={options.orientation}
      renderValue={({ value, width, height, orientation, alignmentFactors }) => (
        <BarGauge
          value={value.display}
          field={value.field}
          display={value.view?.getFieldDisplayProcessor(value.colIndex!)}
          text={options.text}
          width={width}
          height={height}
          orientation={orientation}
          theme={theme}
          itemSpacing={8}
          displayMode={options.displayMode}
          alignmentFactors={alignmentFactors}
          showUnfilled={options.showUnfilled}
          valueDisplayMode={options.valueMode}
        />
      )}
    />
  );
}

function Rows({ panel, frames, width, height }: KindProps) {
  const frame = frames[0];
  if (!frame || frame.length === 0) {
    return empty(panel);
  }
  const sort = panel.options.sortBy?.map(({ displayName, desc }: any) => ({ displayName, desc }));
  return (
    <Table
      data={frame}
      width={width}
      height={height}
      noHeader={false}
      showTypeIcons={false}
      resizable={true}
      initialSortBy={sort}
      cellHeight={panel.options.cellHeight}
    />
  );
}

function Heat({ panel, answers, timeRange, theme, width, height }: KindProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    const series = [...(answers[0]?.result ?? [])].sort((a, b) => bound(a.metric.le) - bound(b.metric.le));
    const ctx = canvas.current!.getContext('2d')!;
    const [left, bottom, top] = [60, 20, 6];
    const rows = series.length;
    const rowHeight = (height - bottom - top) / Math.max(1, rows);
    const from = timeRange.from.valueOf();
    const span = timeRange.to.valueOf() - from;
    const cells: Array<{ t: number; row: number; value: number }> = [];
    series.forEach(({ values = [] }, row) => {
      const below = new Map(row > 0 ? series[row - 1].values : []);
      for (const [t, text] of values) {
        const value = Number(text) - Number(below.get(t) ?? 0);
        if (value > 1e-9) {
          cells.push({ t: t * 1000, row, value });
        }
      }
    });
    const most = Math.max(...cells.map(({ value }) => value), 1e-9);
    const cell = ((answers[0]?.stepMs ?? 1) / span) * (width - left);
    ctx.clearRect(0, 0, width, height);
    for (const { t, row, value } of cells) {
      ctx.fillStyle = `hsl(${40 - 25 * Math.sqrt(value / most)}, 90%, ${15 + 50 * Math.sqrt(value / most)}%)`;
      const x = left + ((t - from) / span) * (width - left) - cell;
      ctx.fillRect(x, top + (rows - 1 - row) * rowHeight, Math.max(1, cell - 1), Math.max(1, rowHeight - 1));
    }
    ctx.fillStyle = theme.colors.text.primary;
    ctx.font = '12px Inter';
    ctx.textAlign = 'right';
    const format = getValueFormat(panel.options.yAxis.unit);
    series.forEach(({ metric }, row) => {
      const every = Math.ceil(16 / rowHeight);
      if (row % every === 0) {
        const le = bound(metric.le);
        const text = le === Infinity ? '+Inf' : formattedValueToString(format(le));
        ctx.fillText(text, left - 6, top + (rows - row) * rowHeight + 4 - rowHeight / 2);
      }
    });
    canvas.current!.dataset.cells = String(cells.length);
  });
  return <canvas ref={canvas} width={width} height={height} className="heat" />;
}

const bound = (le: string) => (le === '+Inf' ? Infinity : Number(le));

const Logs = () => <div className="empty">Needs Loki, which this test does not have.</div>;

export const kinds: Record<string, React.ComponentType<KindProps>> = {
  timeseries: Graph,
  stat: Stat,
  bargauge: Bars,
  table: Rows,
  heatmap: Heat,
  logs: Logs,
};
