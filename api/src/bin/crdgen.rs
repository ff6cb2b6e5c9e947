//! Prints every CustomResourceDefinition as YAML.

use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for (_, definition) in chaperone_api::custom_resource_definitions()? {
        writeln!(std::io::stdout(), "---\n{}", serde_saphyr::to_string(&definition)?)?;
    }
    Ok(())
}
