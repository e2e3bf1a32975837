//! Limits for the figures.

#[derive(Debug, Default)]
pub(crate) struct Goals {
    missed: bool,
}

impl Goals {
    pub(crate) fn at_most(&mut self, what: &str, figure: f64, limit: f64) {
        // NaN meets no limit.
        let met = figure <= limit;
        let missed = !met;
        let verdict = if missed { "MISSED" } else { "met" };
        println!("{verdict}: {what}: {figure:.3}, at most {limit}");
        self.missed |= missed;
    }

    /// Exits with an error if a goal was missed.
    pub(crate) fn conclude(self) {
        if self.missed {
            std::process::exit(1);
        }
    }
}
