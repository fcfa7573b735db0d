//! Pictures of the most important figures, as SVG.

use std::error::Error;

use plotters::element::{PathElement, Rectangle, Text};
use plotters::prelude::{
    ChartBuilder, Color as _, IntoDrawingArea as _, IntoFont as _, Palette as _, Palette99,
    SVGBackend,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{BLACK, TextStyle, WHITE};

use crate::load::bulk::Direction;
use crate::load::cpu;
use crate::load::exchange::{P99, PER_SECOND};
use crate::report::{Report, Spread};
use crate::work::postgres::{TPS, select_name};
use crate::work::relay::{each_name, full_name};
use crate::work::streams::{CONNECTS, bulk_name};
use crate::work::{idle, latency, measure_name};

const SIZE: (u32, u32) = (960, 400);
/// Room for the names of the contenders.
const LEGEND: i32 = 170;
/// Part of the room of a group that its bars take.
const FILLED: f64 = 0.86;

/// Bars of some measures, each with one of every contender.
pub struct Chart {
    /// Name of its file, without an ending.
    pub file: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// What is below each group of bars, and the measure of the group.
    groups: Vec<(String, String)>,
}

/// All there are, in the order of the report.
pub fn all() -> Vec<Chart> {
    let chart = |file, title, groups: Vec<(String, String)>| Chart {
        file,
        title,
        groups,
    };
    let bulk = |figure: &str| {
        let pairs = [1, 16].map(|streams| {
            Direction::ALL.map(|direction| {
                let name = bulk_name(direction, streams);
                (name.replace("bulk ", ""), measure_name(&name, figure))
            })
        });
        pairs.into_iter().flatten().collect::<Vec<_>>()
    };
    let of = |names: Vec<String>, figure: &str| {
        let measured = names.into_iter().map(|name| {
            let measure = measure_name(&name, figure);
            (name, measure)
        });
        measured.collect::<Vec<_>>()
    };
    let selects = [1, 8, 64].map(select_name).to_vec();
    let messages = [2, 100, 2000].map(|links| each_name(64, links)).to_vec();
    let large = [2, 100, 2000]
        .map(|links| full_name(65_536, links))
        .to_vec();
    vec![
        chart(
            "load-postgres",
            "PostgreSQL, transactions a second",
            of(selects, TPS),
        ),
        chart("load-bulk", "Bulk transfer, GB/s", bulk("GB/s")),
        chart(
            "load-bulk-cpu",
            "Bulk transfer, CPU of all processes in between, ms per GB",
            bulk(&cpu("ms per GB")),
        ),
        chart(
            "load-latency",
            "Latency of which one request in a hundred takes more, us",
            of(
                vec![latency::HALF.to_owned(), latency::SAME.to_owned()],
                P99,
            ),
        ),
        chart(
            "load-connects",
            "Streams opened a second",
            of(vec![CONNECTS.to_owned()], PER_SECOND),
        ),
        chart(
            "load-idle",
            "Memory of idle streams, all processes, KiB each",
            of([1000, 10_000].map(idle::name).to_vec(), idle::EACH),
        ),
        chart(
            "load-relay-bulk",
            "Relay alone, CPU ms per GB",
            of(large, &cpu("ms per GB")),
        ),
        chart(
            "load-relay-messages",
            "Relay alone, CPU us of each message",
            of(messages, &cpu("us each")),
        ),
    ]
}

impl Chart {
    /// Draws it, if anything of it was measured.
    ///
    /// # Errors
    /// When it cannot be drawn.
    pub fn draw(
        &self,
        report: &Report,
        contenders: &[&str],
    ) -> Result<Option<String>, Box<dyn Error>> {
        let spread = |contender: &str, measure: &str| report.spread(measure, contender);
        let mut groups = self.groups.clone();
        groups.retain(|(_, measure)| contenders.iter().any(|c| spread(c, measure).is_some()));
        let mut present = contenders.to_vec();
        present.retain(|c| {
            groups
                .iter()
                .any(|(_, measure)| spread(c, measure).is_some())
        });
        // One sample that is far out is not to make all bars small.
        let highest = groups
            .iter()
            .flat_map(|(_, measure)| present.iter().filter_map(|c| spread(c, measure)))
            .fold(0.0, |highest: f64, spread| {
                highest.max(spread.high.min(spread.median * 1.5))
            });
        if highest <= 0.0 {
            return Ok(None);
        }
        let mut svg = String::new();
        {
            let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            root.fill(&WHITE)?;
            let mut chart = ChartBuilder::on(&root)
                .caption(self.title, ("sans-serif", 18))
                .margin(12)
                .x_label_area_size(28)
                .y_label_area_size(64)
                .margin_right(LEGEND)
                .build_cartesian_2d(0.0..groups.len() as f64, 0.0..highest * 1.05)?;
            chart
                .configure_mesh()
                .disable_x_mesh()
                .disable_x_axis()
                .light_line_style(WHITE)
                .draw()?;
            let width = FILLED / present.len() as f64;
            for (place, contender) in present.iter().enumerate() {
                let color = Palette99::pick(place).to_rgba();
                let bars = groups
                    .iter()
                    .enumerate()
                    .filter_map(|(group, (_, measure))| {
                        let left = group as f64 + (1.0 - FILLED) / 2.0 + place as f64 * width;
                        Some((left, spread(contender, measure)?))
                    });
                let bars: Vec<(f64, Spread)> = bars.collect();
                let bar = |(left, spread): &(f64, Spread)| {
                    let corners = [(*left, 0.0), (left + width * 0.94, spread.median)];
                    Rectangle::new(corners, color.filled())
                };
                chart.draw_series(bars.iter().map(bar))?;
                let (x, y) = (SIZE.0 as i32 - LEGEND + 12, 48 + 20 * place as i32);
                let swatch = [(x, y), (x + 12, y + 12)];
                root.draw(&Rectangle::new(swatch, color.filled()))?;
                root.draw(&Text::new(*contender, (x + 20, y), ("sans-serif", 13)))?;
                let whisker = |(left, spread): &(f64, Spread)| {
                    let middle = left + width * 0.47;
                    let ends = vec![(middle, spread.low), (middle, spread.high.min(highest))];
                    PathElement::new(ends, BLACK.stroke_width(1))
                };
                chart.draw_series(bars.iter().map(whisker))?;
            }
            let style = TextStyle::from(("sans-serif", 13).into_font())
                .pos(Pos::new(HPos::Center, VPos::Top));
            for (group, (label, _)) in groups.iter().enumerate() {
                let (x, y) = chart.backend_coord(&(group as f64 + 0.5, 0.0));
                root.draw(&Text::new(label.as_str(), (x, y + 8), style.clone()))?;
            }
            root.present()?;
        }
        Ok(Some(svg))
    }
}

#[cfg(test)]
mod tests {
    use super::all;
    use crate::report::Report;

    #[test]
    fn what_was_measured_is_drawn() {
        let mut report = Report::default();
        for sample in [20_000.0, 30_000.0] {
            report.add(
                "PostgreSQL",
                "pgbench -S, 64 clients: tps",
                "Culvert",
                sample,
            );
        }
        let contenders = ["Ockam 0.150", "Culvert"];
        let drawn: Vec<_> = all()
            .iter()
            .filter_map(|chart| chart.draw(&report, &contenders).expect("drawn"))
            .collect();
        let [only] = &drawn[..] else {
            panic!("{} charts", drawn.len());
        };
        assert!(only.contains("pgbench -S, 64 clients"), "{only}");
        assert!(
            only.contains("Culvert") && !only.contains("Ockam"),
            "{only}"
        );
    }
}
