//! Figures, and how far they may go.

#[derive(Debug)]
pub(crate) struct Table {
    unit: &'static str,
    rows: Vec<(&'static str, &'static str, f64)>,
}

impl Table {
    pub(crate) fn new(unit: &'static str) -> Self {
        println!("| question | subject | {unit} |\n| --- | --- | ---: |");
        Self {
            unit,
            rows: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, question: &'static str, subject: &'static str, figure: f64) {
        println!("| {question} | {subject} | {figure:.1} |");
        self.rows.push((question, subject, figure));
    }

    pub(crate) fn get(&self, question: &str, subject: &str) -> f64 {
        let row = self
            .rows
            .iter()
            .find(|row| (row.0, row.1) == (question, subject));
        row.unwrap_or_else(|| panic!("{question}, {subject}: no {}", self.unit))
            .2
    }
}

#[derive(Debug, Default)]
pub(crate) struct Goals {
    missed: bool,
}

impl Goals {
    pub(crate) fn at_most(&mut self, what: &str, figure: f64, limit: f64) {
        let missed = figure > limit;
        let verdict = if missed { "MISSED" } else { "met" };
        println!("{verdict}: {what}: {figure:.3}, at most {limit}");
        self.missed |= missed;
    }

    /// Ends the process with an error if a goal was missed.
    pub(crate) fn conclude(self) {
        if self.missed {
            std::process::exit(1);
        }
    }
}
