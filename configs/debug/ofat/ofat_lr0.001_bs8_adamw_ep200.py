"""At toy size: ./run_single_ofat.sh ofat_lr0.001_bs8_adamw_ep200 --debug"""

from .._toy import toy

globals().update(toy("ofat_lr0.001_bs8_adamw_ep200"))
