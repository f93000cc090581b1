"""PRIOR: begin reading at :mod:`crossray.methods.prior.method`."""
