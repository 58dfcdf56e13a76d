// A dashboard with the answers to its queries, drawn as Grafana 10.2 draws it:
// the same transformations, field options and components, without its server.

import '@fontsource/inter/400.css';
import '@fontsource/inter/500.css';
import 'uplot/dist/uPlot.min.css';
import React from 'react';
import { createRoot } from 'react-dom/client';
import {
  applyFieldOverrides,
  createTheme,
  DataFrame,
  dateTime,
  getTimeField,
  ThemeContext,
  TimeRange,
  transformDataFrame,
} from '@grafana/data';
import { GlobalStyles, PanelChrome } from '@grafana/ui';
import { Answer, framesOf } from './frames';
import { Exemplar, kinds, Mark } from './kinds';
import { fieldOptions, fillRegistries } from './options';

interface Page {
  dashboard: any;
  from: number;
  to: number;
  answers: Record<string, Answer[]>;
  exemplars: Record<string, Exemplar[]>;
  marks: Mark[];
}

const WIDTH = 1600;
const COLUMNS = 24;
const GAP = 8;
const ROW = 30;
const theme = createTheme({ colors: { mode: 'dark' } });

const range = ({ from, to }: Page): TimeRange => {
  const [start, end] = [dateTime(from * 1000), dateTime(to * 1000)];
  return { from: start, to: end, raw: { from: start, to: end } };
};

function prepared(panel: any, answers: Answer[]): Promise<DataFrame[]> {
  return new Promise((resolve, reject) =>
    transformDataFrame(panel.transformations ?? [], framesOf(answers)).subscribe({ next: resolve, error: reject })
  ).then((frames) => {
    const data = applyFieldOverrides({
      data: frames as DataFrame[],
      fieldConfig: panel.fieldConfig,
      replaceVariables: (text) => text,
      theme,
      timeZone: 'utc',
      fieldConfigRegistry: fieldOptions,
    });
    // What the panel plugin's defaults add in Grafana.
    for (const frame of data) {
      const { timeField } = getTimeField(frame);
      for (const field of frame.fields) {
        if (field !== timeField && panel.type === 'timeseries') {
          field.config.custom = { axisPlacement: 'auto', hideFrom: {}, scaleDistribution: { type: 'linear' }, lineInterpolation: 'linear', barAlignment: 0, pointSize: 5, ...field.config.custom };
        }
      }
    }
    return data;
  });
}

// A panel that fails shows so, and fails the test.
class Guard extends React.Component<{ children: React.ReactNode }, { error?: Error }> {
  state: { error?: Error } = {};
  static getDerivedStateFromError(error: Error) {
    return { error };
  }
  render() {
    return this.state.error ? <div className="broken">{String(this.state.error)}</div> : this.props.children;
  }
}

function Panel({ page, panel, frames }: { page: Page; panel: any; frames: DataFrame[] }) {
  const unit = (WIDTH - GAP) / COLUMNS;
  const { x, y, w, h } = panel.gridPos;
  const style = { left: GAP + x * unit, top: y * (ROW + GAP), width: w * unit - GAP, height: h * (ROW + GAP) - GAP };
  if (panel.type === 'row') {
    return (
      <h2 className="row" style={{ position: 'absolute', ...style }}>
        {panel.title}
      </h2>
    );
  }
  const Kind = kinds[panel.type];
  const exemplars = page.exemplars[panel.id] ?? [];
  return (
    <div className="panel" data-panel={panel.id} style={{ position: 'absolute', ...style }}>
      <PanelChrome title={panel.title} description={panel.description} width={style.width} height={style.height}>
        {(width, height) => (
          <Guard>
            <Kind
              panel={panel}
              frames={frames}
              answers={page.answers[panel.id] ?? []}
              exemplars={exemplars}
              marks={panel.type === 'timeseries' ? page.marks : []}
              timeRange={range(page)}
              theme={theme}
              width={width}
              height={height}
            />
          </Guard>
        )}
      </PanelChrome>
    </div>
  );
}

async function draw(page: Page) {
  fillRegistries();
  const panels = page.dashboard.panels as any[];
  const frames = await Promise.all(panels.map((panel) => (panel.type === 'row' ? [] : prepared(panel, page.answers[panel.id] ?? []))));
  const bottom = Math.max(...panels.map(({ gridPos }) => gridPos.y + gridPos.h)) * (ROW + GAP);
  const root = document.getElementById('root')!;
  root.style.cssText = `position:relative;width:${WIDTH}px;height:${bottom + 60}px`;
  createRoot(root).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <h1 className="title">{page.dashboard.title}</h1>
      <div style={{ position: 'absolute', top: 48, left: 0 }}>
        {panels.map((panel, index) => (
          <Panel key={panel.id} page={page} panel={panel} frames={frames[index]} />
        ))}
      </div>
    </ThemeContext.Provider>
  );
}

// How many pixels of a canvas are painted in full: lines and bars are, the grid is not.
const painted = (canvas: HTMLCanvasElement): number => {
  const { width, height } = canvas;
  if (width === 0 || height === 0) {
    return 0;
  }
  const data = canvas.getContext('2d')!.getImageData(0, 0, width, height).data;
  let count = 0;
  for (let index = 3; index < data.length; index += 4) {
    count += data[index] > 200 ? 1 : 0;
  }
  return count;
};

// What each panel shows: marks, or text where there is nothing to show.
function report() {
  return [...document.querySelectorAll<HTMLElement>('.panel')].map((element) => {
    const canvases = [...element.querySelectorAll('canvas')];
    return {
      id: Number(element.dataset.panel),
      painted: canvases.reduce((sum, canvas) => sum + painted(canvas), 0),
      cells: element.querySelectorAll('[role=cell]').length,
      text: element.innerText.split('\n').slice(1).join(' ').trim(),
      empty: element.querySelector('.empty')?.textContent ?? null,
      broken: element.querySelector('.broken')?.textContent ?? null,
    };
  });
}

Object.assign(window, { draw, report });
