// What Prometheus answered, as the data frames that Grafana's data source makes of it.

import { DataFrame, Field, FieldType, toDataFrame } from '@grafana/data';

export interface Answer {
  refId: string;
  kind: 'matrix' | 'vector';
  format: 'time_series' | 'table' | 'heatmap';
  legend: string;
  expr: string;
  stepMs: number;
  result: Array<{ metric: Record<string, string>; values?: Array<[number, string]>; value?: [number, string] }>;
}

const number = (text: string): number | null => {
  if (text === '+Inf') {
    return Infinity;
  }
  if (text === '-Inf') {
    return -Infinity;
  }
  const value = Number(text);
  return Number.isNaN(value) ? null : value;
};

function legendOf(answer: Answer, labels: Record<string, string>): string {
  if (answer.legend !== '__auto') {
    return answer.legend.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, name) => labels[name] ?? '');
  }
  const { __name__: name = '', ...others } = labels;
  const texts = Object.entries(others).map(([key, value]) => `${key}="${value}"`);
  return texts.length > 0 ? `${name}{${texts.join(', ')}}` : name || answer.expr;
}

function seriesFrames(answer: Answer): DataFrame[] {
  return answer.result.map(({ metric, values, value }) => {
    const points = values ?? [value!];
    return toDataFrame({
      refId: answer.refId,
      fields: [
        { name: 'Time', type: FieldType.time, config: { interval: answer.stepMs }, values: points.map(([t]) => t * 1000) },
        {
          name: 'Value',
          type: FieldType.number,
          labels: metric,
          config: { displayNameFromDS: legendOf(answer, metric) },
          values: points.map(([, text]) => number(text)),
        },
      ],
    });
  });
}

// transformDFToTable of Grafana's Prometheus data source: one frame a query,
// labels as columns; the value is called after the query where there are several.
function tableFrame(answer: Answer, several: boolean): DataFrame {
  const labels = [...new Set(answer.result.flatMap(({ metric }) => Object.keys(metric)))].sort();
  const rows = answer.result.map(({ metric, value }) => ({ metric, value: value! }));
  const fields: Array<Partial<Field> & { name: string; values: unknown[] }> = [
    { name: 'Time', type: FieldType.time, config: {}, values: rows.map(({ value }) => value[0] * 1000) },
    ...labels.map((name) => ({
      name,
      type: FieldType.string,
      config: { filterable: true },
      values: rows.map(({ metric }) => metric[name] ?? ''),
    })),
    {
      name: several ? `Value #${answer.refId}` : 'Value',
      type: FieldType.number,
      config: {},
      values: rows.map(({ value }) => number(value[1])),
    },
  ];
  return toDataFrame({ refId: answer.refId, meta: { preferredVisualisationType: 'table' }, fields });
}

export function framesOf(answers: Answer[]): DataFrame[] {
  const tables = answers.filter(({ format, result }) => format === 'table' && result.length > 0);
  return answers.flatMap((answer) => {
    if (answer.result.length === 0) {
      return [];
    }
    return answer.format === 'table' ? [tableFrame(answer, tables.length > 1)] : seriesFrames(answer);
  });
}
