"""Diffusion mathematics shared by the baselines; schedulers come from diffusers."""
