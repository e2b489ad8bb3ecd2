"""Latent diffusion: components, weighted prompts, sampling, training. Torch lives here."""
